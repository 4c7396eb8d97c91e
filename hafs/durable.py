"""Folders that exist whole or not at all, whatever kills the process or fills the disk.

Commit protocol: write a draft beside the target, fsync its files, write the manifest with their SHA-256 last, fsync the
draft, rename it to the target, fsync the parent.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

MANIFEST = "MANIFEST.json"


class Damaged(Exception):
    """A folder is not what its manifest says; the message says how."""


def sync_folder(folder: Path) -> None:
    """Make renames and new names inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's bytes survive a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Replace a small file; readers see the old text or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    sync_file(draft)
    draft.replace(path)
    sync_folder(path.parent)


def commit(target: Path, write: Callable[[Path], object]) -> Path:
    """Make a folder by calling `write` on an empty draft; `target` then exists whole.

    Raises:
        OSError: The disk is full or refuses; nothing that was there before has changed.
    """
    draft = target.parent / f".draft-{target.name}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        write(draft)
        files = {}
        for path in _files(draft):
            sync_file(path)
            files[str(path.relative_to(draft))] = [path.stat().st_size, _digest(path)]
        (draft / MANIFEST).write_text(json.dumps({"files": files}, indent=1))
        sync_file(draft / MANIFEST)
        sync_folder(draft)
        if target.exists():
            remove(target)
        draft.replace(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(target.parent)
    return target


def verify(folder: Path) -> None:
    """Hold a folder against its manifest.

    Raises:
        Damaged: A file is missing, of another size or with other bytes; or the manifest itself is gone or unreadable.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        for name, (size, digest) in files.items():
            path = folder / name
            if path.stat().st_size != size:
                raise Damaged(f"{name} has {path.stat().st_size} bytes, its manifest says {size}")
            if _digest(path) != digest:
                raise Damaged(f"the bytes of {name} do not match its manifest")
    except OSError as error:
        raise Damaged(f"{error.filename or MANIFEST} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("its manifest is not readable") from error


def remove(folder: Path) -> None:
    """Delete a folder; renamed first, so that a kill halfway leaves no half folder under its name."""
    doomed = folder.with_name(f".doomed-{folder.name}-{os.getpid()}")
    folder.replace(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep_leftovers(root: Path) -> None:
    """Delete what killed processes left half done; only call it under the run's lock."""
    for pattern in (".draft-*", ".doomed-*"):
        for leftover in root.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
