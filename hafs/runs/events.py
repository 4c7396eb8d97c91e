"""`events.jsonl`: one line per optimizer step and per notable event. Truncated and invalid lines are skipped."""

import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from hafs.core.redaction import scrub

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_MOST_UNWRITTEN = 16 << 20
"""Maximum bytes that are buffered while the file cannot be written."""


class Events:
    """An append-only file of lines. A write error delays lines and never stops a run.

    Args:
        path: The file; it and its folder need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._unwritten = b""
        self._failed = False

    def append(self, kind: str, **facts: Any) -> None:
        """Append one line with secrets redacted, after any lines that could not be written earlier."""
        line = {"time": round(time.time(), 3), "event": kind} | facts
        self._unwritten += scrub(orjson.dumps(line, option=_OPTIONS).decode()).encode()
        try:
            self._flush()
            self._failed = False
        except OSError as error:
            self._unwritten = self._unwritten[-_MOST_UNWRITTEN:]
            if not self._failed:
                warnings.warn(f"{self.path} cannot be written: {error.strerror}; training continues", stacklevel=2)
            self._failed = True

    def _flush(self) -> None:
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if not _ends_with_newline(self._handle):
                self._unwritten = b"\n" + self._unwritten  # a kill truncated the last line
        while self._unwritten:
            self._unwritten = self._unwritten[os.write(self._handle, self._unwritten) :]

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def read(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """All events, or the events of one kind, oldest first."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    event = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if not odd(event) and kind in (None, event["event"]):
                    yield event


def odd(event: Any) -> bool:
    """Whether a parsed line is not a valid event: it was damaged or changed."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return True
    missing = any(event.get(key) is None for key in _NEEDED.get(event["event"], ()))
    return missing or any(key in event and not fits(event[key]) for key, fits in _FITS.items())


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) < _LARGEST)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _ids(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _stages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(stage, dict) and isinstance(stage.get("name"), str) and _whole(stage, "steps", "measurements")
        for stage in value
    )


def _whole(stage: dict[str, Any], *keys: str) -> bool:
    return all(isinstance(stage.get(key), int) for key in keys)


_LARGEST = 1e15
_NUMBERS = ("time", "total", "to", "step", "epoch", "epochs", "loss", "accuracy", "grad_norm", "lr", "rate", "tokens")
_NUMBERS += ("supervised", "seconds", "micro_batch_tokens", "row_tokens", "best", "exit_code", "pid", "process_began")
_TEXTS = ("stage", "prompt", "answer", "checkpoint", "why", "error", "signal", "host", "folder", "best_stage")
_FITS = dict.fromkeys(_NUMBERS, _number) | dict.fromkeys(_TEXTS, _text) | {"samples": _ids, "stages": _stages}
_NEEDED = {
    "held_out": ("total",),
    "stage_started": ("stage", "total"),
    "stage_finished": ("stage", "total"),
    "resumed": ("total",),
    "rollback": ("total", "to"),
    "generation": ("prompt", "answer", "total"),
    "planned": ("stages",),
}
"""Keys that readers require, by kind of event."""


def _ends_with_newline(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
