"""The journal of a sampling: one line per answer, written as soon as it arrives and never changed.

A killed process loses nothing that it wrote, and a line that a kill cut off is skipped. The same command reads the
journal and asks only what is not in it.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, kw_only=True)
class SampledAnswer:
    """One answer as a provider gave it."""

    key: str
    """Prompt and draw: what is asked once."""
    prompt: str
    """Id of the prompt's row."""
    draw: int
    """Number of the answer among those to this prompt, from 0."""
    text: str
    calls: list[dict[str, Any]]
    """Tool calls in OpenAI's format, with arguments as objects."""
    provider: str
    model: str
    cost: float | None
    """US dollars, failed attempts included; None: not known."""
    tokens: int
    """Of prompt and answer, as the provider counted; 0: not known."""
    seconds: float
    time: float
    """When it arrived, in seconds since 1970."""
    ended: bool
    """Whether the answer ended by itself, not at its limit."""


_FIELDS = {field.name for field in fields(SampledAnswer)}


class AnswerJournal:
    """Answers by key; appends are atomic for readers.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, SampledAnswer] = {answer.key: answer for answer in _read(path)}
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self._handle).st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            os.write(self._handle, b"\n")  # a kill cut the last line off

    def note(self, answer: SampledAnswer) -> None:
        """Append an answer. It survives the end of this process from here on."""
        line = orjson.dumps(asdict(answer), option=orjson.OPT_APPEND_NEWLINE)
        while line:
            line = line[os.write(self._handle, line) :]
        self.answers[answer.key] = answer

    def sync(self) -> None:
        """Wait until every noted answer is on the disk."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        os.close(self._handle)


def _read(path: Path) -> Iterator[SampledAnswer]:
    """The whole lines of a journal; of a key that is there twice, the first answer."""
    if not path.exists():
        return
    seen = set()
    with path.open("rb") as lines:
        for line in lines:
            found = _answer(line)
            if found and found.key not in seen:
                seen.add(found.key)
                yield found


def _answer(line: bytes) -> SampledAnswer | None:
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    whole = isinstance(row, Mapping) and row.keys() >= _FIELDS and isinstance(row["key"], str)
    return SampledAnswer(**{name: row[name] for name in _FIELDS}) if whole else None
