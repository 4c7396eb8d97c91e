"""The on-disk cache of prepared datasets: atomic folders, and columns that are written by appending.

A cache entry is built in a temporary folder next to its target, flushed to disk, listed in a manifest of sizes and
hashes, and renamed into place under a lock. If an entry does not match its manifest, it is rebuilt.
"""

import contextlib
import ctypes
import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hafs.core import durable, records
from hafs.core.errors import DataError

_FORMER_MANIFEST = "manifest.json"  # of entries that earlier versions made


def cached(cache: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The folder cache/key; if it is missing or damaged, `build(folder)` writes it, in one process at a time.

    Raises:
        DataError: The disk is full.
    """
    entry = cache / key
    if intact(entry):
        return entry
    cache.mkdir(parents=True, exist_ok=True)
    with durable.lock(cache / f"{key}.lock"):
        if not intact(entry):
            _build(entry, build)
    return entry


def _build(entry: Path, build: Callable[[Path], None]) -> None:
    durable.drop_drafts(entry)
    if entry.exists():
        if not (entry / _FORMER_MANIFEST).exists():
            records.say_damaged(entry, "its files do not match its manifest", "the data is prepared again")
        durable.remove(entry)
    try:
        durable.commit(entry, build, fast=True)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DataError(f"no space left on the disk of the cache {str(entry.parent)!r}",
                        hint="free some space, or set another cache folder") from error  # fmt: skip


def intact(entry: Path, *names: str) -> bool:
    """Whether a cache entry exists and its files, or the named ones, match its manifest."""
    try:
        return bool(durable.verify(entry, *names))
    except durable.Damaged:
        return False


class ArrayWriter:
    """Appends to a one-dimensional .npy file; `close` writes the final length into the header."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.dtype, self.length = np.dtype(dtype), 0
        self.file: BinaryIO = path.open("w+b")
        self._header()

    def _header(self) -> None:
        # numpy pads a header so that its first axis can grow without moving the data
        described = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.length,)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, described)

    def append(self, values: Any) -> None:
        """Add values, converted to the file's type."""
        array = np.ascontiguousarray(values, self.dtype)
        self.file.write(array.tobytes())
        self.length += len(array)

    def close(self) -> None:
        """Write the final length and close the file."""
        start = self.file.tell()
        self._header()
        assert self.file.tell() <= start
        self.file.close()


def load_array(path: Path) -> np.ndarray:
    """Load a .npy file, memory-mapped and read-only unless it is empty; pickled content is rejected."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped
        return np.load(path, allow_pickle=False)


class Columns:
    """A table on disk with one file per column, so that columns can be loaded one at a time."""

    def __init__(self, folder: Path, name: str, columns: dict[str, str]) -> None:
        self.folder, self.name, self.dtype = folder, name, np.dtype(list(columns.items()))
        self.files = {column: self._path(column).open("wb") for column in columns}

    def _path(self, column: str) -> Path:
        return self.folder / f"{self.name}-{column}.bin"

    def append(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of values in the columns' order."""
        table = np.array(rows, self.dtype)
        for column, file in self.files.items():
            file.write(table[column].tobytes())

    def close(self) -> None:
        """Flush and close all columns."""
        for file in self.files.values():
            file.close()

    def load(self, column: str) -> np.ndarray:
        """One column of a closed table."""
        return np.fromfile(self._path(column), self.dtype[column])


def release_memory() -> None:
    """Return freed memory to the system if the C library supports it; tokenizing leaves tens of MB in its pools."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
