"""Where the samples of a packed sequence begin, for every layer that attends within them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import overload

import torch


class Borders(Sequence[int]):
    """`[0, n1, n1 + n2, ...]`: where samples begin, then the sequence's length; copied to a device once.

    Args:
        places: At least two of them, ascending.
        offsets: The same as int32 on the device, if they are there already.
    """

    def __init__(self, places: Sequence[int], *, offsets: torch.Tensor | None = None) -> None:
        self._places, self._offsets = tuple(places), offsets
        self.longest = max(end - start for start, end in pairwise(self._places))
        """Tokens of the longest sample."""

    @classmethod
    def of(cls, places: Sequence[int]) -> "Borders":
        """The same places, with what is on the device already."""
        return places if isinstance(places, cls) else cls(places)

    def on(self, device: torch.device) -> torch.Tensor:
        """The places as int32 on a device, as variable-length attention takes them."""
        if self._offsets is None or self._offsets.device != device:
            self._offsets = torch.tensor(self._places, dtype=torch.int32, device=device)
        return self._offsets

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...

    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        return self._places[index]

    def __len__(self) -> int:
        return len(self._places)
