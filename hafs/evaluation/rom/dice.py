"""Seeded choices built on `random()` alone, the one stream that Python promises never to change."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A source of choices named by a text seed: the same name gives the same choices on every Python."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name).random

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, *options: T) -> T:
        """One of the options."""
        return options[self.between(0, len(options) - 1)]

    def of(self, options: Sequence[T]) -> T:
        """One element of a sequence."""
        return options[self.between(0, len(options) - 1)]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different elements, in random order."""
        rest = list(options)
        return [rest.pop(self.between(0, len(rest) - 1)) for _ in range(min(count, len(rest)))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All elements in random order."""
        return self.some(options, len(options))

    def step(self, low: int, high: int, step: int) -> int:
        """A multiple of `step` from low to high, both included (low itself is a multiple of step)."""
        return low + step * self.between(0, (high - low) // step)
