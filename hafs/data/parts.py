"""Parts of a split that a stage trains on: pairs of answers, rows that `hafs sample` kept, or all others."""

from typing import Literal

import numpy as np
import torch

from hafs.data.samples import AnswerPair, Sample, Split

Rows = Literal["all", "original", "verified"]


class PairSplit(torch.utils.data.Dataset[AnswerPair]):
    """The preference rows of a split, in its order.

    Attributes:
        lengths: int32[N], tokens of both answers of each pair, prompts included.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.places = np.flatnonzero(split.rejected_lengths)
        self.lengths = (split.lengths + split.rejected_lengths)[self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> AnswerPair:
        return self.split.pair(int(self.places[place]))


class SplitPart(torch.utils.data.Dataset[Sample]):
    """Some samples of a split, in its order.

    Attributes:
        lengths: int32[N], tokens of each.
    """

    def __init__(self, split: Split, places: np.ndarray) -> None:
        self.split, self.places, self.lengths = split, places, split.lengths[places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> Sample:
        return self.split[int(self.places[place])]


def part_of(split: Split, rows: Rows) -> Split | SplitPart:
    """All samples; those that `hafs sample` did not make; or those that it kept, without its pairs."""
    if rows == "all":
        return split
    wanted = split.sampled & (split.rejected_lengths == 0) if rows == "verified" else ~split.sampled
    return SplitPart(split, np.flatnonzero(wanted))
