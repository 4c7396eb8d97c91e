"""Finds an adapter, as a folder or as a name in the registry, and checks that it fits the base model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hafs.core.errors import ConfigError, HafsError
from hafs.council.expert import Expert
from hafs.runs.finished import model_name

CONFIG = "adapter_config.json"


def found(expert: Expert, providers: Sequence[Any]) -> str | None:
    """The folder of an expert's adapter; None if it has none, or no provider of the chain loads local adapters.

    Raises:
        ConfigError: The adapter is neither a folder nor registered, or it was trained on another base.
    """
    loading = [provider for provider in providers if provider.host.local and provider.host.carries_adapters]
    if expert.adapter is None or not loading:
        return expert.adapter
    who = f"expert {expert.name!r}"
    folder = folder_of(str(expert.adapter), who, f"expert.{expert.name}.adapter=null asks the bare base")
    for provider in loading:
        model = str(provider.models[expert.tier])
        refuse_another_base(who, folder, model, hint=f"provider.local.models.{expert.tier}={{theirs}}")
    return str(folder)


def folder_of(adapter: str, who: str, without: str) -> Path:
    """The folder of a named adapter.

    Args:
        adapter: A folder, or a name of the registry.
        who: Needs it, for the error.
        without: How to do without it, for the error's hint.

    Raises:
        ConfigError: It is neither.
    """
    folder = Path(adapter).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    from hafs.registry.registry import production

    try:
        return production(adapter)
    except HafsError as error:
        raise ConfigError(
            f"{who} needs the adapter {adapter!r}: {error.fact}", hint="; ".join(filter(None, [error.hint, without]))
        ) from error


def refuse_another_base(who: str, folder: Path, model: str, *, hint: str) -> None:
    """Compare the base model of the run that trained an adapter with the model that would load it.

    Args:
        who: Needs it, for the error.
        folder: Of the adapter.
        model: The provider's.
        hint: With `{theirs}` for the model that the adapter was made for.

    Raises:
        ConfigError: It was made for another one.
    """
    theirs = trained_on(folder)
    if theirs is not None and theirs != model:
        raise ConfigError(
            f"{who}: the adapter in {folder} was made for {theirs!r}, the provider's model is {model!r}",
            hint=f"{hint.format(theirs=theirs)}, or another adapter",
        )


def trained_on(folder: Path) -> str | None:
    """The base model in the record of the run that trained an adapter; None if there is no record."""
    return model_name(folder) or model_name(folder.parent)
