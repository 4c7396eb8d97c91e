"""Pass@k: the chance that at least one of k answers drawn at random does what was asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Annotated

from pydantic import Field

from hafs.evaluation.metrics import Metric, Parts, Said
from hafs.evaluation.metrics.executes import Executes


@dataclass(frozen=True, kw_only=True)
class PassAtK(Metric):
    """The mean of `pass_at_k` over the rows that have cases and at least k drawn answers (`samples=` draws them)."""

    k: Annotated[int, Field(gt=0)]
    """Number of answers that are looked at."""
    executes: Executes | None
    """Decides which answers are right."""

    def missing(self) -> str:
        """Whether answers can be run."""
        return self.executes.missing() if self.executes else "it needs metrics.executes"

    def prepare(self, rows: Sequence[Said]) -> None:
        """Run all drawn answers, in several processes."""
        if self.executes:
            self.executes.prepare([said for said in rows if said.samples])

    def parts(self, said: Said) -> Parts | None:
        """The chance for one row."""
        if self.executes is None or len(said.samples) < self.k or not self.executes.applies(said):
            return None
        right = sum(self.executes.right(said, text) for text in said.samples)
        return Parts(pass_at_k(len(said.samples), right, self.k))


def pass_at_k(drawn: int, right: int, k: int) -> float:
    """The chance that k of the drawn answers hold a right one; unbiased (Chen et al. 2021, arXiv:2107.03374).

    Args:
        drawn: How many answers there are, at least k.
        right: How many of them are right.
        k: How many are looked at.
    """
    return 1.0 - comb(drawn - right, k) / comb(drawn, k)
