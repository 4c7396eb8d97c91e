"""Write a registered model for another program; an export that does not answer as the original does is removed.

    hafs export hyrule-asm-v1                                 merged: 16-bit, for transformers without PEFT
    hafs export hyrule-asm-v1 format=gguf                     one file for llama.cpp
    hafs export hyrule-asm-v1 format=lora_gguf                the adapter, for a llama.cpp server that has the base
    hafs export hyrule-asm-v1 format=ollama                   a folder for ollama create: base and ADAPTER
    hafs export hyrule-asm-v1 format=ollama ollama.adapter=false   the same of one merged file
    hafs export hyrule-asm-v1 format=vllm                     the adapter and vLLM's command line

Exit codes: 0 written and checked, 4 it was not the original and is removed, 2 yours to mend.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from typing_extensions import TypedDict  # that of Python 3.11 is none that pydantic checks within another

from hafs.config import build, command

Limit = Annotated[float, Field(ge=0)]


class LimitSettings(TypedDict):
    """How far an export may be from the original."""

    kl: Limit
    perplexity: Limit


class OllamaSettings(TypedDict):
    """What the folder for Ollama is made of."""

    adapter: bool
    parameters: dict[str, Any]


class Settings(TypedDict):
    """The command's own keys in `conf/export.yaml`."""

    model_name: str | None
    format: Literal["merged", "gguf", "lora_gguf", "ollama", "vllm"]
    kind: Literal["bf16", "f16"]
    to: str | None
    limits: LimitSettings
    ollama: OllamaSettings


def export(config: DictConfig) -> None:
    """Write, check, and say where it is.

    Raises:
        GateRefused: The export is not the original.
        HafsError: There is no such model, or it has no such form.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry.export import export as write
    from hafs.registry.export import source

    if not config.model_name:
        raise ConfigError("there is no model to export", hint="hafs export hyrule-asm-v1; hafs models shows them")
    found = source(build(config.registry), config.model_name)
    target = Path(config.to or Path("outputs/exports") / found.record.name / config.format)
    write(
        found, form=config.format, kind=config.kind, target=target, limits=dict(config.limits),
        ollama=OmegaConf.to_container(config.ollama), say=lambda line: print(line, flush=True),  # type: ignore[arg-type]
    )  # fmt: skip


main = command("export", export, words=__doc__ or "", settings=Settings, positional="model_name")

if __name__ == "__main__":
    main()
