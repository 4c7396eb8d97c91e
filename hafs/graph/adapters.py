"""Where an expert's adapter is: a folder, or what the registry knows under its name; and whether it fits the base."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hafs.errors import ConfigError, HafsError
from hafs.expert import Expert

CONFIG = "adapter_config.json"


def found(expert: Expert, providers: Sequence[Any]) -> str | None:
    """The folder of an expert's adapter; None where it has none, or no provider of the chain loads adapters from here.

    Raises:
        ConfigError: The adapter is neither a folder nor registered, or it was trained on another base.
    """
    loading = [provider for provider in providers if provider.host.local and provider.host.carries_adapters]
    if expert.adapter is None or not loading:
        return expert.adapter
    folder = _folder(expert)
    for provider in loading:
        _refuse_another_base(expert, folder, str(provider.models[expert.tier]))
    return str(folder)


def _folder(expert: Expert) -> Path:
    folder = Path(str(expert.adapter)).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    from hafs.registry import production

    try:
        return production(str(expert.adapter))
    except HafsError as error:
        raise ConfigError(
            f"expert {expert.name!r} wants the adapter {expert.adapter!r}: {error.fact}",
            hint="; ".join(filter(None, [error.hint, f"expert.{expert.name}.adapter=null asks the bare base"])),
        ) from error


def _refuse_another_base(expert: Expert, folder: Path, model: str) -> None:
    theirs = trained_on(folder)
    if theirs is not None and theirs != model:
        raise ConfigError(
            f"expert {expert.name!r}: the adapter in {folder} was made for {theirs!r}, "
            f"the provider's model is {model!r}",
            hint=f"provider.local.models.{expert.tier}={theirs}, or another adapter",
        )


def trained_on(folder: Path) -> str | None:
    """The model's name in the record of the run that made an adapter; None where there is none."""
    for record in (folder / "run.json", folder.parent / "run.json"):
        try:
            return str(json.loads(record.read_text(encoding="utf-8"))["config"]["model"]["name"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
