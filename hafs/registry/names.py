"""Names of registered models: `{project}-{domain}-v{version}`; without its version it is a family."""

import re
from collections.abc import Iterable

from hafs.core.errors import ConfigError

LONGEST = 100
_FAMILY = r"[a-z0-9][a-z0-9_]*(?:-[a-z0-9][a-z0-9_]*)*?"
_VERSION = re.compile(rf"(?P<family>{_FAMILY})-v(?P<version>[1-9][0-9]{{0,4}})")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names of devices on Windows, where a family cannot be the name of a file, such as its expert's `con.yaml`."""
_RULE = "lower-case letters, digits and _ in parts joined by -, then a version: hyrule-asm-v1"


def is_version(name: str) -> bool:
    """Whether a name is that of one version, not of a family."""
    return len(name) <= LONGEST and _VERSION.fullmatch(name) is not None and family(name) not in _DEVICES


def checked(name: str) -> str:
    """The name, if it is valid: a folder name on every file system and a bare key in TOML.

    Raises:
        ConfigError: The name is not valid.
    """
    if (of := family(name)) in _DEVICES:
        raise ConfigError(
            f"{name!r} is not a model name: {of} is a device on Windows", hint=f"for example {of}-model-v1"
        )
    if not is_version(name):
        near = slug(name)
        hint = f"for example {near}-v1" if near else f"expected {_RULE}"
        raise ConfigError(f"{name[:120]!r} is not a model name, expected {_RULE}", hint=hint)
    return name


def family(name: str) -> str:
    """The name without its version."""
    found = _VERSION.fullmatch(name)
    return found["family"] if found else name


def version(name: str) -> int:
    """The number at the end of a model's name; 0 if there is none."""
    found = _VERSION.fullmatch(name)
    return int(found["version"]) if found else 0


def slug(words: str) -> str:
    """The family name derived from a run's name; empty if no valid character is left."""
    bare = re.sub(r"-v[0-9]+$", "", words.strip().lower())
    parts = [part.strip("_") for part in re.sub(r"[^a-z0-9_-]+", "_", bare).split("-")]
    parts = [part for part in parts if part]
    near = "-".join(parts)[: LONGEST - 10].strip("-_")
    return near if is_version(f"{near}-v1") else ""


def next_version(of: str, taken: Iterable[str]) -> str:
    """The name after the highest taken version of a family."""
    highest = max((version(name) for name in taken if family(name) == of), default=0)
    return f"{of}-v{highest + 1}"
