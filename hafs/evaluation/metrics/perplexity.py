"""Perplexity of the reference answers, over supervised tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class Perplexity(Metric):
    """`exp` of the mean negative log likelihood over supervised tokens."""

    better = "lower"
    unit = ""

    def parts(self, said: Said) -> Parts | None:
        """Sum of nats, and the number of tokens."""
        return Parts(said.nats, said.supervised) if said.nats is not None and said.supervised else None

    def value(self, amount: Any, weight: Any) -> Any:
        """`exp` of the mean; a loss beyond 700 nats would overflow."""
        return np.exp(np.minimum(amount / weight, 700.0))
