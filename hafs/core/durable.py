"""Commits files and folders atomically: complete or absent, even if the process is killed or the disk is full.

A file (`drafted`, `write_text`, `write_bytes`): write a draft beside it, fsync, rename, fsync the parent. Readers see
the old content or the new, never a part. With `sync=False` a power cut may leave the old content, or an empty file.

A folder (`commit`): write a draft beside the target, fsync its files, write the manifest with their hashes last, fsync
the draft, rename it to the target, fsync the parent. A target that is replaced is set aside first, and put back by
`sweep_leftovers` if a crash left nothing in its place. `verify` compares a folder with its manifest.

Drafts of killed processes are removed by `drop_drafts` and `sweep_leftovers`, under the lock of their target.
"""

import glob
import hashlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash
from filelock import FileLock

from hafs.core.failpoints import failpoint

MANIFEST = "MANIFEST.json"
_READ_BYTES = 1 << 20
_FAST = "xxh3:"
_counter = itertools.count()
_DRAFT, _ASIDE, _DOOMED = ".draft-", ".aside-", ".doomed-"


class Damaged(Exception):
    """A folder does not match its manifest; the message says how."""


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


@contextmanager
def drafted(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A draft for a `with` block to write; it replaces the file if the block succeeds, and is deleted if it fails.

    Args:
        path: The file; its folder exists.
        sync: Whether the new content must survive a power cut.

    Raises:
        OSError: The disk is full or cannot be written; the old file is intact.
    """
    draft = _draft_of(path)
    try:
        yield draft
        share(draft)
        failpoint("text.written", path.name)
        if sync:
            sync_file(draft)
        failpoint("text.synced", path.name)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    failpoint("text.renamed", path.name)
    if sync:
        sync_folder(path.parent)


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace a small file, as `drafted` does."""
    with drafted(path, sync=sync) as draft:
        draft.write_bytes(data)


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Replace a small file by UTF-8 text, as `drafted` does."""
    write_bytes(path, text.encode(), sync=sync)


def commit(target: Path, write: Callable[[Path], object], *, fast: bool = False) -> Path:
    """Create a folder by calling `write` on an empty draft; `target` then exists completely.

    Args:
        target: The folder; an existing one is replaced.
        write: Writes its files into an empty folder.
        fast: Hash with XXH3 instead of SHA-256: for folders that this machine wrote and checks often.

    Raises:
        OSError: The disk is full or cannot be written; nothing that was there before has changed.
    """
    draft = _draft_of(target)
    shutil.rmtree(draft, ignore_errors=True)
    make_folders(target.parent)
    try:
        draft.mkdir()
        share(draft)
        failpoint("commit.begun", target.name)
        write(draft)
        failpoint("commit.written", target.name)
        _seal(draft, target.name, fast)
        replaced = _set_aside(target)
        draft.replace(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        _put_back(target)
        raise
    failpoint("commit.renamed", target.name)
    sync_folder(target.parent)
    failpoint("commit.done", target.name)
    if replaced:
        shutil.rmtree(replaced, ignore_errors=True)
    return target


def share(path: Path) -> None:
    """Copy the group's permissions from the parent folder to a file or folder; never make it world-writable.

    Libraries create files that only their owner can read (safetensors: 0600), even in a group's folder.
    """
    around = stat.S_IMODE(path.parent.stat().st_mode)
    if path.is_symlink():
        return
    mode = around & 0o2775 | 0o700 if path.is_dir() else around & 0o664 | 0o600
    with suppress(PermissionError):  # another user's
        path.chmod(mode)


def lock(path: Path, *, seconds: float = -1) -> FileLock:
    """A lock between processes, also between the users of a group that shares the folder.

    Args:
        path: The lock's file; its folder exists.
        seconds: How long to wait for it; -1: forever.
    """
    return FileLock(path, timeout=seconds, mode=stat.S_IMODE(path.parent.stat().st_mode) & 0o664 | 0o600)


def make_folders(folder: Path) -> None:
    """Create a folder and its parents durably: each survives a power cut."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _seal(draft: Path, thing: str, fast: bool) -> None:
    """Fsync all files, then write their sizes and hashes into the manifest."""
    files = {}
    for path in _files(draft):
        share(path)
        sync_file(path)
        digest = f"{_FAST}{hash_file(path)}" if fast else sha256(path)
        files[str(path.relative_to(draft))] = [path.stat().st_size, digest]
    for folder in sorted({path.parent for path in _files(draft)} - {draft}):
        share(folder)
        sync_folder(folder)
    failpoint("commit.synced", thing)
    (draft / MANIFEST).write_text(json.dumps({"files": files}, indent=1))
    share(draft / MANIFEST)
    failpoint("commit.listed", thing)
    sync_file(draft / MANIFEST)
    sync_folder(draft)
    failpoint("commit.sealed", thing)


def _set_aside(target: Path) -> Path | None:
    if not target.exists():
        return None
    aside = _beside(target, _ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    target.replace(aside)
    failpoint("commit.aside", target.name)
    return aside


def _put_back(target: Path) -> None:
    """Undo `_set_aside` if nothing has replaced the target."""
    aside = _beside(target, _ASIDE)
    if aside.exists() and not target.exists():
        aside.replace(target)


def verify(folder: Path, *names: str) -> dict[str, str]:
    """Compare a folder with its manifest; returns the hash of each file, by name.

    Args:
        folder: A folder that `commit` created.
        names: Only check these files; without names, all.

    Raises:
        Damaged: A file is missing, unlisted, of another size or with other bytes; or the manifest itself is missing or
            unreadable.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        there = {str(path.relative_to(folder)) for path in _files(folder)} - {MANIFEST}
        if not names and (not files or there != set(files)):
            odd = sorted(there ^ set(files)) or ["nothing"]
            raise Damaged(f"its files are not those of its manifest: {odd[0]}")
        for name in names or files:
            _compare(folder / name, *files[name])
        return {name: digest for name, (_, digest) in files.items()}
    except OSError as error:
        name = Path(error.filename).name if error.filename else MANIFEST
        raise Damaged(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged("its manifest is not readable") from error


def _compare(path: Path, size: int, digest: str) -> None:
    if path.stat().st_size != size:
        raise Damaged(f"{path.name} has {path.stat().st_size} bytes, its manifest says {size}")
    found = f"{_FAST}{hash_file(path)}" if digest.startswith(_FAST) else sha256(path)
    if found != digest:
        raise Damaged(f"the bytes of {path.name} do not match its manifest")


def remove(folder: Path) -> None:
    """Delete a folder; it is renamed first, so that an interrupted deletion leaves no partial folder under its name."""
    doomed = _beside(folder, _DOOMED, os.getpid())
    folder.replace(doomed)
    failpoint("remove.renamed", folder.name)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep_leftovers(root: Path) -> None:
    """Complete or undo the unfinished changes of killed processes; call it only under the run's lock."""
    for aside in root.glob(f"{_ASIDE}*"):
        _put_back(root / aside.name.removeprefix(_ASIDE))
    for kind in (_ASIDE, _DRAFT, _DOOMED):
        for leftover in root.glob(f"{kind}*"):
            _drop(leftover)


def drop_drafts(path: Path) -> None:
    """Delete the drafts that killed writers of one file or folder left next to it; call it only under its lock."""
    for kind in (_DRAFT, _DOOMED):
        for leftover in path.parent.glob(f"{kind}{glob.escape(path.name)}-*"):
            _drop(leftover)


def _drop(leftover: Path) -> None:
    if leftover.is_dir():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink(missing_ok=True)


def _draft_of(target: Path) -> Path:
    """A draft's path, unique among threads and processes."""
    return target.parent / f"{_DRAFT}{target.name}-{os.getpid()}-{next(_counter)}"


def _beside(target: Path, kind: str, pid: int | None = None) -> Path:
    return target.parent / (f"{kind}{target.name}" + (f"-{pid}" if pid else ""))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; about 1.5 GB/s on a CPU with SHA instructions."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file(path: Path) -> str:
    """XXH3-128 of a file's bytes and their count: finds accidents, not attackers, at about 15 GB/s in memory."""
    digest, size = xxhash.xxh3_128(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return f"{digest.hexdigest()}-{size}"
