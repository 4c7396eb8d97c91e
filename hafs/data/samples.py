"""The samples of a prepared split, memory-mapped from the cache."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import torch

from hafs.chat import Conversation, Message
from hafs.data.store import load_array

COLUMNS = ("id", "start", "length", "supervised", "spool", "spool_size", "rejected", "sampled")
"""Arrays that a split consists of, one file each."""
FAMILY = "family"
"""One more: the key of each sample's question, or of its template."""


class Sample(NamedTuple):
    """One training sample: its id, int32[T] token ids, and bool[T], whether the loss counts each token."""

    id: str
    tokens: np.ndarray
    supervised: np.ndarray


class AnswerPair(NamedTuple):
    """One prompt with a better and a worse answer; each half is a sample of its own."""

    id: str
    chosen: Sample
    rejected: Sample

    @property
    def tokens(self) -> np.ndarray:
        """int32[T], token ids of both halves."""
        return np.concatenate([self.chosen.tokens, self.rejected.tokens])

    @property
    def supervised(self) -> np.ndarray:
        """bool[T], the answers of both halves."""
        return np.concatenate([self.chosen.supervised, self.rejected.supervised])


class Ids(Sequence[str]):
    """Sample ids as 16 hex digits, formatted lazily."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [f"{number:016x}" for number in self.numbers[place].tolist()]
        return f"{int(self.numbers[place]):016x}"


class Split(torch.utils.data.Dataset[Sample]):
    """The samples of one split, ordered by id; tokens are loaded from disk on access.

    Attributes:
        lengths: int32[N], tokens of each sample.
        supervised: int32[N], supervised tokens of each sample.
        rejected_lengths: int32[N], tokens of the worse answer and its prompt; 0 for other rows.
        ids: 16 hex digits for each sample: a hash of its content.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._columns = {column: load_array(folder / f"{name}-{column}.npy") for column in COLUMNS}
        self._family = load_array(folder / f"{name}-{FAMILY}.npy")
        self._tokens, self._flags = load_array(folder / "tokens.npy"), load_array(folder / "supervised.npy")
        self.lengths, self.supervised = np.array(self._columns["length"]), np.array(self._columns["supervised"])
        self.rejected_lengths = np.array(self._columns["rejected"])
        self.ids: Sequence[str] = Ids(self._columns["id"])

    def __reduce__(self) -> Any:
        return Split, (self.folder, self.name)  # a worker process maps the files again instead of copying them

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: int) -> Sample:
        start, length = int(self._columns["start"][place]), int(self.lengths[place])
        stop = start + length
        return self._sample(self.ids[place], start, stop)

    def _sample(self, name: str, start: int, stop: int) -> Sample:
        return Sample(name, np.array(self._tokens[start:stop]), np.array(self._flags[start:stop]))

    def pair(self, place: int) -> AnswerPair:
        """Both answers of a preference row."""
        chosen = self[place]
        start = int(self._columns["start"][place]) + len(chosen.tokens)
        rejected = self._sample(chosen.id, start, start + int(self._columns["rejected"][place]))
        return AnswerPair(chosen.id, chosen, rejected)

    @property
    def sampled(self) -> np.ndarray:
        """bool[N], which samples are answers that `hafs sample` has kept."""
        return np.array(self._columns["sampled"]) > 0

    def _entry(self, place: int) -> dict[str, Any]:
        with (self.folder / "conversations.bin").open("rb") as file:
            return read_entry(file.fileno(), self._columns["spool"][place], self._columns["spool_size"][place])

    def conversation(self, place: int) -> Conversation:
        """The messages of one sample, as they were tokenized."""
        return tuple(map(Message.of_list, self._entry(place)["messages"]))

    def rejected(self, place: int) -> Conversation | None:
        """The messages of a preference row's worse answer; None for other rows."""
        stored = self._entry(place).get("rejected")
        return stored and tuple(map(Message.of_list, stored))

    def family(self, place: int) -> str:
        """16 hex digits that samples share whose questions are the same, or differ only in numbers and names."""
        return f"{int(self._family[place]):016x}"

    def metadata(self, place: int) -> dict[str, Any]:
        """The keys of the sample's row that its format does not use."""
        return self._entry(place)["metadata"]


def read_entry(handle: int, start: Any, size: Any) -> dict[str, Any]:
    """Read one stored conversation without memory mapping, so that memory use stays constant."""
    return orjson.loads(os.pread(handle, int(size), int(start)))
