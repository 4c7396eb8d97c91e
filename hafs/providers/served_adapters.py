"""Finds an expert's adapter among the models that a server lists: by its name, else the newest version of its family.

vLLM serves an adapter under the names of its `--lora-modules`. Experts ask for a family (`hyrule-asm`), while a server
may know only a version (`hyrule-asm-v3`); it answers 404 to any other name.
"""

import re
import time
from collections.abc import Iterable

KEPT_SECONDS = 60.0
"""How long a name is remembered, so that a server that was restarted with the adapter is noticed."""
SERVED = "served_adapter"
"""In the metadata of an answer: the name of the adapter that was served; None: the base model answered."""

_found: dict[tuple[str, str], tuple[str | None, float]] = {}


def served_as(adapter: str, offered: Iterable[str]) -> str | None:
    """The name under which a server offers an adapter; None: it does not.

    Args:
        adapter: A family, or one version of it.
        offered: The names of all models of the server.
    """
    names = set(offered)
    if adapter in names:
        return adapter
    versions = {int(match[1]): name for name in names if (match := re.fullmatch(rf"{re.escape(adapter)}-v(\d+)", name))}
    if versions:
        return versions[max(versions)]
    family = re.sub(r"-v\d+$", "", adapter)
    return family if family != adapter and family in names and not _other_versions(family, names) else None


def _other_versions(family: str, names: set[str]) -> bool:
    """Whether a server lists versions of a family; its name without version may then mean a different version."""
    return any(re.fullmatch(rf"{re.escape(family)}-v\d+", name) for name in names)


def remembered(base_url: str, adapter: str) -> tuple[bool, str | None]:
    """Whether the name of an adapter on a server is known, and that name; None: the server does not have it."""
    name, until = _found.get((base_url, adapter), (None, 0.0))
    return time.monotonic() < until, name


def remember(base_url: str, adapter: str, name: str | None) -> None:
    """Remember the name of an adapter on a server for `KEPT_SECONDS`."""
    _found[base_url, adapter] = (name, time.monotonic() + KEPT_SECONDS)
