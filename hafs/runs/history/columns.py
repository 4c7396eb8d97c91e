"""The numbers of many steps in little memory; a repeated step counts once."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


class MetricTable:
    """A growing table of floats, ordered by its first column, `total`.

    A row whose `total` is not above the last one's begins a repetition (the run went back to a checkpoint): the rows
    from there on are dropped, and what follows takes their place.

    Args:
        names: Of the columns; the first is `total`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._place = {name: place for place, name in enumerate(names)}
        self._table = np.empty((len(names), 1024))  # a column lies in one piece
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> np.ndarray:
        """A column, float64[rows]; missing values are NaN."""
        return self._table[self._place[name], : self._length]

    def last(self, name: str) -> float | None:
        """The newest value that is a number."""
        column = self[name]
        for value in column[: -min(len(column), 50) - 1 : -1]:
            if np.isfinite(value):
                return float(value)
        return None

    def extend(self, columns: Sequence[np.ndarray]) -> None:
        """Add rows, given as one array per column."""
        total = columns[0]
        if not len(total):
            return
        borders = [0, *(np.flatnonzero(np.diff(total) <= 0) + 1).tolist(), len(total)]
        for first, end in pairwise(borders):
            self._append([column[first:end] for column in columns])

    def _append(self, columns: Sequence[np.ndarray]) -> None:
        self._length = int(np.searchsorted(self["total"], columns[0][0]))
        length = self._length + len(columns[0])
        room = self._table.shape[1]
        if length > room:
            larger = np.empty((len(self.names), max(length, 2 * room)))
            larger[:, : self._length] = self._table[:, : self._length]
            self._table = larger
        for place, column in enumerate(columns):
            self._table[place, self._length : length] = column
        self._length = length
