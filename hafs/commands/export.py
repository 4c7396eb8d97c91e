"""Write a registered model for another program; an export that differs from the original is removed.

    hafs export hyrule-asm-v1                                 merged: 16-bit, for transformers without PEFT
    hafs export hyrule-asm-v1 format=gguf                     one file for llama.cpp
    hafs export hyrule-asm-v1 format=lora_gguf                the adapter alone, for a llama.cpp server with the base
    hafs export hyrule-asm-v1 format=ollama                   a folder for ollama create, with base and ADAPTER
    hafs export hyrule-asm-v1 format=ollama ollama.adapter=false   a folder for ollama create, with one merged file
    hafs export hyrule-asm-v1 format=vllm                     the adapter and vLLM's command line
    hafs export format=vllm expert=asm,yaze,debug             the adapters of several experts, one server for all

Exit codes: 0 written and verified, 4 it differed from the original and was removed, 2 user error.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from typing_extensions import TypedDict  # pydantic does not check Python 3.11's own TypedDict when it is nested

from hafs.config import build, command

if TYPE_CHECKING:
    from hafs.registry.export.source import Source

Limit = Annotated[float, Field(ge=0)]


class LimitSettings(TypedDict):
    """How far an export may be from the original."""

    kl: Limit
    perplexity: Limit


class OllamaSettings(TypedDict):
    """Contents of the folder for Ollama."""

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
    """Write, verify, and print where it is.

    Raises:
        GateRefused: The export differs from the original.
        HafsError: The registry has no such model, or the model has no such form.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry.export import source

    if config.get("experts"):  # without any, the config has no such key
        _export_experts(config)
        return
    if not config.model_name:
        raise ConfigError("no model was given", hint="hafs export hyrule-asm-v1; hafs models lists the models")
    found = source(build(config.registry), config.model_name)
    _write(config, found, Path(config.to or Path("outputs/exports") / found.record.name / config.format))


def _export_experts(config: DictConfig) -> None:
    """Write the adapters of several experts, and one script that serves them all."""
    from hafs.core.errors import ConfigError
    from hafs.registry.export import script_of_all, source

    if config.format != "vllm" or config.model_name:
        raise ConfigError("several experts are exported for vLLM only", hint="hafs export format=vllm expert=asm,yaze")
    adapters = [expert.adapter for expert in config.experts.values() if expert.adapter]
    if not adapters:
        raise ConfigError("no chosen expert has an adapter", hint="hafs export format=vllm expert=asm,yaze,debug")
    registry = build(config.registry)
    found = [source(registry, adapter) for adapter in dict.fromkeys(adapters)]
    folder = Path(config.to or "outputs/exports/vllm")
    for each in found:
        _write(config, each, folder / each.record.name)
    print(f"-> {script_of_all(folder, found)}")


def _write(config: DictConfig, found: "Source", target: Path) -> None:
    from hafs.registry.export import export as write

    write(
        found, form=config.format, kind=config.kind, target=target, limits=dict(config.limits),
        ollama=OmegaConf.to_container(config.ollama), say=lambda line: print(line, flush=True),  # type: ignore[arg-type]
    )  # fmt: skip


_enter = command("export", export, description=__doc__ or "", settings=Settings, positional="model_name")


def main() -> None:
    """Export; `experts=` is understood as the group `expert=`."""
    sys.argv[1:] = [
        f"expert={word.removeprefix('experts=')}" if word.startswith("experts=") else word for word in sys.argv[1:]
    ]
    _enter()


if __name__ == "__main__":
    main()
