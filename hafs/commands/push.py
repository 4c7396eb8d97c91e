"""Upload a registered model to the Hugging Face hub: the adapter, or an export, with its model card.

    hafs push hyrule-asm-v1 hf://owner/hyrule-asm                      the adapter, for PEFT
    hafs push hyrule-asm-v1 hf://owner/hyrule-asm format=merged        after hafs export hyrule-asm-v1
    hafs push hyrule-asm-v1 hf://owner/hyrule-asm-GGUF format=gguf     after hafs export hyrule-asm-v1 format=gguf
    hafs push hyrule-asm-v1 hf://owner/hyrule-asm private=false        a new repository is public

The token comes from HF_TOKEN, or from `hf auth login`. Held-out conversations are never uploaded. Exit codes:
0 uploaded, 2 user error.
"""

from typing import Literal, TypedDict

from omegaconf import DictConfig

from hafs.config import build, command


class Settings(TypedDict):
    """The command's own keys in `conf/push.yaml`."""

    what: str | None
    format: Literal["adapter", "merged", "gguf", "lora_gguf"]
    private: bool
    message: str | None


def push(config: DictConfig) -> None:
    """Upload, and print where it is.

    Raises:
        ConfigError: There is no model, no export, no address, or the hub rejected the upload.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry.hub_upload import repository, upload

    arguments = (config.what or "").split()
    if len(arguments) != 2:
        raise ConfigError(
            "hafs push takes a model and an address", hint="hafs push hyrule-asm-v1 hf://owner/hyrule-asm"
        )
    name, address = arguments
    where = upload(
        build(config.registry), name, repository(address), form=config.format, private=config.private,
        message=config.message,
    )  # fmt: skip
    print(f"uploaded {name} ({config.format}): {where}")


main = command("push", push, description=__doc__ or "", settings=Settings, positional="what")

if __name__ == "__main__":
    main()
