"""The file `events.jsonl`: read in blocks, then followed as it grows.

A million lines are half a gigabyte, so lines become typed records without the fields that no view shows (sample ids),
and records become columns of numbers immediately.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hafs.runs.events import odd
from hafs.runs.history.run_history import MACHINE, STEP, RunHistory

_BLOCK = 1 << 20  # bytes


class _Line(msgspec.Struct, gc=False):
    """One event; what a kind of event does not have stays at its default."""

    event: str
    time: float
    stage: str | None = None
    total: int = 0
    epoch: int = 0
    loss: float | None = None
    accuracy: float | None = None
    grad_norm: float | None = None
    lr: float | None = None
    tokens: float = 0.0
    seconds: float = 0.0
    tokens_per_second: float | None = None
    resident_bytes: float | None = None
    memory_bytes: float | None = None
    gpu_reserved_bytes: float | None = None
    gpu_bytes: float | None = None
    gpu_percent: float | None = None
    cpu_percent: float | None = None


_LINES = msgspec.json.Decoder(_Line)


class JournalReader:
    """A run's events as far as they have been read.

    Args:
        folder: The run's folder; it need not hold an `events.jsonl` yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "events.jsonl"
        self.history = RunHistory(folder)
        self.bad_lines = 0
        self._offset = 0
        self._file: tuple[int, int] | None = None

    def follow(self) -> bool:
        """Read what is new; a file that was replaced or has shrunk is read from its beginning.

        A last line without its newline is read later: it was cut off, or is still being written.

        Returns:
            Whether anything was new.
        """
        try:
            file = self.path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return self._forget()
        with file:
            facts = os.fstat(file.fileno())
            identity = (facts.st_dev, facts.st_ino)
            if (self._file or identity) != identity or facts.st_size < self._offset:
                self._forget()
            self._file = identity
            before = self._offset
            file.seek(before)
            while block := _whole_lines(file):
                self._take(block)
                self._offset += len(block)
        return self._offset != before

    def _forget(self) -> bool:
        known, self._offset, self._file = self._offset, 0, None
        if known:
            self.history, self.bad_lines = RunHistory(self.folder), 0
        return bool(known)

    def _take(self, block: bytes) -> None:
        """Split a block into steps and measurements of the machine, as columns, and all else, as events."""
        raw: Sequence[bytes] = ()
        try:
            lines: list[_Line] = _LINES.decode_lines(block)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            readable = list(self._readable(block))
            raw, lines = [line for line, _ in readable], [record for _, record in readable]
        steps = [line for line in lines if line.event == "step"]
        machine = [line for line in lines if line.event == "throughput"]
        if steps:
            self.history.take_steps(_columns(steps, STEP), stage=steps[-1].stage or "")
        if machine:
            self.history.machine.extend(_columns(machine, MACHINE))
        if lines:
            self.history.heard(lines[-1].time)
        if len(steps) + len(machine) < len(lines):
            places = [i for i, line in enumerate(lines) if line.event not in ("step", "throughput")]
            for line in [raw[i] for i in places] if raw else _lines_at(block, places, len(lines)):
                event = msgspec.json.decode(line)
                if odd(event):
                    self.bad_lines += 1
                else:
                    self.history.take(event)

    def _readable(self, block: bytes) -> Iterator[tuple[bytes, _Line]]:
        """The lines of a block that are events; a kill cuts lines off, and a continued run ends them."""
        for line in block.split(b"\n"):
            try:
                record = _LINES.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.bad_lines += bool(line.strip())
            else:
                yield line, record


def _lines_at(block: bytes, places: Sequence[int], count: int) -> list[bytes]:
    """Some of the `count` lines of a block, without cutting out the others."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    if len(ends) != count:  # there are blank lines
        lines = [line for line in block.split(b"\n") if line.strip()]
        return [lines[i] for i in places]
    return [block[ends[i - 1] + 1 if i else 0 : ends[i]] for i in places]


def _whole_lines(file: Any) -> bytes:
    """The next block of whole lines; empty when there is none yet."""
    block = file.read(_BLOCK)
    while block and (end := block.rfind(b"\n") + 1) == 0:
        more = file.read(_BLOCK)
        if not more:
            return b""
        block += more
    if not block:
        return b""
    file.seek(end - len(block), os.SEEK_CUR)
    return block[:end]


def _columns(lines: Sequence[_Line], names: Sequence[str]) -> list[np.ndarray]:
    return [_column(lines, attrgetter(name)) for name in names]


def _column(lines: Sequence[_Line], value: Callable[[_Line], Any]) -> np.ndarray:
    try:
        return np.fromiter(map(value, lines), dtype=float, count=len(lines))
    except TypeError:  # null: not a number, or not measured
        return np.array(list(map(value, lines)), dtype=float)
