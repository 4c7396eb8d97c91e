"""`events.jsonl`: one line an optimizer step, and every notable event; a torn line is passed over."""

import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from hafs.redact import scrub

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_MOST_UNWRITTEN = 16 << 20
"""Bytes that wait for a disk to take them again."""


class Events:
    """An append-only file of lines; a disk that refuses delays lines, and never ends a run.

    Args:
        path: Of the file; it and its folder may come later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._unwritten = b""
        self._refused = False

    def append(self, kind: str, **facts: Any) -> None:
        """Write one line, secrets blanked, behind those that could not be written before."""
        line = {"time": round(time.time(), 3), "event": kind} | facts
        self._unwritten += scrub(orjson.dumps(line, option=_OPTIONS).decode()).encode()
        try:
            self._flush()
            self._refused = False
        except OSError as error:
            self._unwritten = self._unwritten[-_MOST_UNWRITTEN:]
            if not self._refused:
                warnings.warn(f"{self.path} cannot be written: {error.strerror}; training goes on", stacklevel=2)
            self._refused = True

    def _flush(self) -> None:
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if not _ends_with_newline(self._handle):
                self._unwritten = b"\n" + self._unwritten  # a kill tore the last line
        while self._unwritten:
            self._unwritten = self._unwritten[os.write(self._handle, self._unwritten) :]

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def read(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """The events, or those of a kind, oldest first."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    event = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(event, dict) and kind in (None, event.get("event")):
                    yield event


def _ends_with_newline(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
