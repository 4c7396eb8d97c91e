"""How much there is to train on: tokens from the dataset's report, and the fullest packed sequence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hafs.modeling.kernel_limits import SHORT

if TYPE_CHECKING:
    from hafs.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The samples of a run."""

    train: int
    """Samples to train on."""
    val: int
    """Samples held out for validation."""
    tokens: float
    """Mean tokens of a sample."""
    longest: int
    """Tokens of the longest sample."""
    squares: float
    """Mean square of a sample's tokens, which determines the cost of attention."""
    supervised: float
    """Share of the tokens that the loss counts."""
    lengths: tuple[int, ...]
    """Tokens of every training sample, or of a representative part; ascending."""
    source: str
    """Where the counts come from."""

    @property
    def ragged(self) -> bool:
        """Whether lengths differ by more than a tenth of their mean, as in nearly all data."""
        return float(np.std(self.lengths)) > self.tokens / 10

    def lost_below(self, max_length: int) -> float:
        """Share of the samples that a shorter `max_length` would lose."""
        return sum(length > max_length for length in self.lengths) / max(1, len(self.lengths))

    def capped(self, max_length: int) -> "Workload":
        """The samples that a shorter `max_length` leaves."""
        kept = [length for length in self.lengths if length <= max_length] or [max_length]
        share = 1 - self.lost_below(max_length)
        train, val = max(1, round(self.train * share)), round(self.val * share)
        return workload(kept, train=train, val=val, supervised=self.supervised, source=self.source)


def trained_lengths(lengths: np.ndarray, rejected: np.ndarray, stages: "Sequence[Stage]") -> np.ndarray:
    """Tokens of what the stages train on: a preference stage reads both answers of its pairs.

    Args:
        lengths: Of all training samples.
        rejected: Of the worse answer of each, with its prompt; 0 for other samples.
        stages: Of the run. With stages of both kinds, pairs count in full in all of them.
    """
    preferring = [stage.preference is not None for stage in stages]
    if all(preferring) and (rejected > 0).any():
        return (lengths + rejected)[rejected > 0]
    return lengths + rejected if any(preferring) else lengths


def workload(lengths: Sequence[int] | np.ndarray, *, train: int, val: int, supervised: float, source: str) -> Workload:
    """The samples whose training split has these lengths, in tokens."""
    counts = np.sort(np.asarray(lengths, dtype=np.int64))
    if len(counts) > 20_000:  # a plan stays quick whatever the data
        counts = counts[np.linspace(0, len(counts) - 1, 20_000).astype(int)]
    return Workload(
        train=train,
        val=val,
        tokens=float(counts.mean()),
        longest=int(counts[-1]),
        squares=float((counts.astype(float) ** 2).mean()),
        supervised=supervised,
        lengths=tuple(counts.tolist()),
        source=source,
    )


@dataclass(frozen=True, kw_only=True)
class SequenceShape:
    """The fullest forward pass of a run."""

    tokens: int
    samples: float
    longest: int
    short_squares: float
    """Sum of the squares of the tokens of samples of at most `SHORT` tokens, whose probabilities a CPU keeps."""
    long_tokens: float
    """Tokens of the samples that are longer than that."""
    supervised: int
    """Positions that are projected to logits."""
    ragged: bool = False
    """Whether the packed sequences of the run differ in length."""


def fullest_step(load: Workload, stages: "Sequence[Stage]") -> int:
    """Tokens of the longest optimizer step that the stages are likely to see."""
    return int(_steps(load, tuple(stages)).max())


@lru_cache(maxsize=64)
def _steps(load: Workload, stages: "tuple[Stage, ...]", *, draws: int = 300) -> np.ndarray:
    """Tokens of steps as the stages will draw them; a sample of a few hundred steps."""
    size = max(stage.batch_size for stage in stages)
    steps = min(draws, sum(stage.steps(load.train) for stage in stages))
    return np.random.default_rng(0).choice(np.asarray(load.lengths), (steps, size)).sum(1)


def fullest_sequence(load: Workload, stages: "Sequence[Stage]", micro_batch_tokens: int) -> SequenceShape:
    """The fullest packed sequence of steps whose sequences hold at most `micro_batch_tokens`.

    Sequences are filled evenly (`packing.pack`), so even the fullest is seldom full.
    """
    totals = _steps(load, tuple(stages))
    rows = np.ceil(totals / micro_batch_tokens)
    even = totals / rows
    tokens = (
        int(min(micro_batch_tokens, even.max() + load.tokens / 4))
        if even.max() < micro_batch_tokens
        else micro_batch_tokens
    )
    tokens = max(min(tokens, int(totals.max())), load.longest)
    samples = max(1.0, tokens / load.tokens)
    lengths = np.asarray(load.lengths, dtype=float)
    short, long = np.where(lengths <= SHORT, lengths, 0.0), np.where(lengths > SHORT, lengths, 0.0)
    return SequenceShape(
        tokens=tokens,
        samples=samples,
        longest=load.longest,
        short_squares=max(samples * float((short**2).mean()), float(short.max()) ** 2),
        long_tokens=max(tokens * float(long.sum() / lengths.sum()), float(long.max())),
        supervised=max(1, math.ceil(tokens * load.supervised)),
        ragged=load.ragged,
    )
