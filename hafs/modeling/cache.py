"""The cache of prepared bases: made once, checked at the first use in each process, rebuilt if damaged.

The check compares every file with the SHA-256 in the folder's manifest: 0.18 s for a base of 135 M parameters in 16
bits on a CPU with SHA instructions, once per process.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from hafs.core import durable
from hafs.core.errors import ConfigError

Stamp = tuple[tuple[str, int, int, int], ...]
_checked: dict[Path, tuple[Stamp, dict[str, str]]] = {}  # intact folders: how the files looked, and their SHA-256


def cache_folder() -> Path:
    """Where hafs keeps what it can rebuild: `$HAFS_CACHE`, else `hafs` in the user's cache folder."""
    base = os.environ.get("HAFS_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hafs"


def prepared(target: Path, *, label: str, make: Callable[[Path], object]) -> Path:
    """A folder of the cache, complete and undamaged.

    Args:
        target: Where it is or will be.
        label: What it holds, shown while it is prepared.
        make: Writes its files into an empty folder.

    Raises:
        ConfigError: It cannot be written.
    """
    if not _damage(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with durable.lock(target.with_suffix(".lock")):
            durable.drop_drafts(target)
            if damage := _damage(target):
                _make(target, damage, label, make)
    except OSError as error:
        fact = f"{label} cannot be prepared in {target.parent}: {error.strerror or error}"
        raise ConfigError(fact, hint="free some space, or set another folder: HAFS_CACHE=/path") from error
    return target


def _make(target: Path, damage: str, label: str, make: Callable[[Path], object]) -> None:
    if target.exists():
        print(f"{label} in {target} is damaged ({damage}); preparing it again", file=sys.stderr)
        durable.remove(target)
    else:
        print(f"preparing {label} once, for {target}", file=sys.stderr)
    durable.commit(target, make)


def _damage(target: Path) -> str:
    """What is wrong with a folder; empty if it is intact. Files with the same size and times are not read again."""
    if not target.exists():
        return "it is missing"
    stamp = _stamp(target)
    if target in _checked and _checked[target][0] == stamp:
        return ""
    try:
        _checked[target] = stamp, durable.verify(target)
    except durable.Damaged as damage:
        return str(damage)
    return ""


def known_sha256(path: Path) -> str | None:
    """The SHA-256 of a file in a folder that this process has compared with its manifest; None for any other file."""
    _, digests = _checked.get(path.parent, ((), {}))
    return digests.get(path.name)


def _stamp(folder: Path) -> Stamp:
    """Name, size, time and number of each file."""
    found = ((path, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return tuple((path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in found)
