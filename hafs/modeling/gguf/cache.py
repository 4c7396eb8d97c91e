"""The cache of GGUF files: written at their first use, removed when they are not used any more.

A file is named by a hash of everything it was made from, so it never gets out of date. A note beside it has its hash.
Each process checks a file before its first use (0.02 s for 270 MB in the page cache) and writes a damaged one again.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hafs.core import durable, records
from hafs.modeling.adapter.folder import CONFIG, TENSORS, read_config
from hafs.modeling.gguf.adapter import write_adapter
from hafs.modeling.gguf.base import write_model
from hafs.modeling.gguf.files import Kind
from hafs.modeling.weights import cache_folder

MOST_BYTES = 40e9
"""Limit for all files; a base model of 14 B parameters has 30e9 bytes in 16 bits."""
UNUSED_DAYS = 30
MADE_BY = "3"
"""Increase it when the content for the same model changes."""


def base_file(base: Path, kind: Kind) -> Path:
    """A base as GGUF.

    Args:
        base: In transformers' format.
        kind: How its matrices are stored.

    Raises:
        ConfigError: The architecture or the tokenizer has no counterpart in llama.cpp.
    """
    files = sorted(path for path in base.iterdir() if path.is_file())
    facts = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return _kept(f"{base.resolve()} {facts}", f"{kind}.gguf", lambda target: write_model(base, target, kind=kind))


def adapter_file(adapter: Path, base: Path) -> Path:
    """An adapter as GGUF.

    Args:
        adapter: In PEFT's format.
        base: Its base, in transformers' format.

    Raises:
        HafsError: It cannot be used with this base.
    """
    read_config(adapter)
    tensors = (adapter / TENSORS).stat()
    described = (adapter / CONFIG).read_text(encoding="utf-8")
    facts = f"{base.resolve()} {adapter.resolve()} {tensors.st_mtime_ns} {tensors.st_size} {described}"
    return _kept(facts, "lora.gguf", lambda target: write_adapter(adapter, base, target))


def _kept(facts: str, ending: str, write: Callable[[Path], object]) -> Path:
    folder = cache_folder() / "gguf"
    target = folder / f"{hashlib.sha256(f'{MADE_BY} {facts}'.encode()).hexdigest()[:16]}.{ending}"
    if not _damage(target):
        with suppress(OSError):
            os.utime(target)  # its last use
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with durable.lock(folder / "lock"):
        if damage := _damage(target):
            if target.exists():
                print(f"{target} is damaged ({damage}); writing it again", file=sys.stderr)
            durable.sweep_leftovers(folder)
            write(target)
            records.write_record(_note(target), {"xxh3_128": durable.hash_file(target)})
            _make_room(folder, target)
    return target


_checked: dict[Path, tuple[int, int]] = {}  # inode and size of files that this process has checked


def _note(target: Path) -> Path:
    """The note with the hash of a file as it was written."""
    return target.with_name(f"{target.name}.json")


def _damage(target: Path) -> str:
    """What is wrong with a file; empty if it is intact. It is read once per process."""
    try:
        stat = target.stat()
        if _checked.get(target) == (stat.st_ino, stat.st_size):
            return ""
        note = records.read_record(_note(target))
        if note is None:
            return "its note with the hash is missing"
        if note["xxh3_128"] != durable.hash_file(target):
            return "its bytes are not those that were written"
    except FileNotFoundError:
        return "it is missing"
    except durable.Damaged as damage:
        return str(damage)
    _checked[target] = (stat.st_ino, stat.st_size)
    return ""


def _make_room(folder: Path, new: Path) -> None:
    """Remove files that were not used for long, and the oldest beyond the limit; say so."""
    others = {path: path.stat() for path in folder.glob("*.gguf") if path != new}
    room, dropped, now = MOST_BYTES - new.stat().st_size, 0, time.time()
    for path, stat in sorted(others.items(), key=lambda pair: -pair[1].st_mtime):
        room -= stat.st_size
        if room < 0 or now - stat.st_mtime > UNUSED_DAYS * 86400:
            path.unlink()  # a server that has it open keeps it
            _note(path).unlink(missing_ok=True)
            dropped += stat.st_size
    if dropped:
        why = f"not used in {UNUSED_DAYS} days, or the oldest beyond {MOST_BYTES / 1e9:.0f} GB"
        print(f"dropped {dropped / 1e9:.3g} GB of GGUF files from {folder}: {why}", file=sys.stderr)
