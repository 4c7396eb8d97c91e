"""Where an expert's adapter is: a folder, or what the registry knows under its name."""

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
        ConfigError: The adapter is neither a folder nor registered.
    """
    if expert.adapter is None or not any(_loads_folders(provider) for provider in providers):
        return expert.adapter
    folder = Path(expert.adapter).expanduser()
    if (folder / CONFIG).is_file():
        return str(folder)
    try:
        from hafs.registry import production  # type: ignore[import-not-found]

        return str(production(expert.adapter))
    except ImportError:
        reason = "is no folder with an adapter"
    except HafsError as error:
        reason = error.fact
    raise ConfigError(
        f"expert {expert.name!r} wants the adapter {expert.adapter!r}: {reason}",
        hint=f"hafs train makes one, hafs register names it; or expert.{expert.name}.adapter=null for the bare base",
    )


def _loads_folders(provider: Any) -> bool:
    return provider.host.local and provider.host.carries_adapters


def base_of(folder: Path) -> str | None:
    """The base an adapter says it was made for."""
    return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
