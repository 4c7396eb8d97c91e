"""Routing by meaning: the experts' examples as vectors, and a small classifier on top of them.

What it learns from: each expert's own `examples`, and the rows of a routing file that are not held out. For each expert
one logistic regression (one against the rest, L2) over the sentence vector and the keyword scores, fitted in
milliseconds when the router is first asked; so a new expert is a new file with a few examples. Its scores are
probabilities, which is what thresholds are about.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hafs.router import Method, Panel
from hafs.router.encoder import Encoder
from hafs.router.keyword import hits
from hafs.router.rows import dealt, read_rows

Share = Annotated[float, Field(ge=0, lt=1)]
_STEPS = 25
_CLOSE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Embedding(Method):
    """A classifier over sentence vectors."""

    encoder: Encoder
    rows: str | None
    """A routing file to learn from, beside the experts' own examples."""
    held_out: Share
    """Share of the file's groups that is kept for measuring and never learned from."""
    seed: int
    """Decides, with the groups, which are held out."""
    keyword_weight: Annotated[float, Field(ge=0)]
    """How much keywords count beside the vector."""
    remainder: Annotated[float, Field(gt=0, lt=1)]
    """As in the keyword router."""
    strength: Annotated[float, Field(gt=0)]
    """How closely the classifier follows its examples: 1 / L2."""
    _fitted: dict[Any, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    async def score(self, question: str, panel: Panel) -> Mapping[str, float]:
        """The probability of each expert, found beside the event loop."""
        return await asyncio.to_thread(self.probabilities, question, panel)

    def probabilities(self, question: str, panel: Panel) -> dict[str, float]:
        """The probability that each expert should answer."""
        weights = self._weights(panel)
        features = self._features([question], panel)
        return dict(zip(panel.experts, _sigmoid(features @ weights)[0].tolist(), strict=True))

    def _weights(self, panel: Panel) -> np.ndarray:
        """float64[D, experts], fitted once for each panel."""
        key = tuple((e.name, tuple(e.examples), tuple(e.keywords)) for e in panel.experts.values())
        with self._lock:
            if key not in self._fitted:
                texts, labels = self.examples(panel)
                self._fitted[key] = logistic(self._features(texts, panel), labels, strength=self.strength)
            return self._fitted[key]

    def examples(self, panel: Panel) -> tuple[list[str], np.ndarray]:
        """What is learned from: N questions and bool[N, experts]."""
        known = set(panel.experts)
        pairs = [(text, {e.name}) for e in panel.experts.values() for text in e.examples]
        if self.rows:
            learned, _ = dealt(read_rows(self.rows), self.held_out, seed=self.seed)
            pairs += [(row.question, set(row.experts)) for row in learned if row.experts <= known]
        return [text for text, _ in pairs], np.array([[name in who for name in panel.experts] for _, who in pairs])

    def _features(self, texts: Sequence[str], panel: Panel) -> np.ndarray:
        """float64[N, D]: the vector, keyword scores, their products in pairs, and a one."""
        experts = [expert for expert in panel.experts.values() if expert.keywords]
        scores = [[1 - self.remainder ** len(hits(text, expert)) for expert in experts] for text in texts]
        both = [[row[i] * row[j] for i, j in combinations(range(len(experts)), 2)] for row in scores]
        ones = np.ones((len(texts), 1))
        words = [self.keyword_weight * np.array(part, np.float64).reshape(len(texts), -1) for part in (scores, both)]
        return np.concatenate([self.encoder.vectors(texts), *words, ones], 1)


def logistic(features_ND: np.ndarray, labels_NE: np.ndarray, *, strength: float) -> np.ndarray:
    """Weights, float64[D, E], of one L2-regularized logistic regression for each label; the last feature is free.

    Newton's method on the penalized log-likelihood (Hastie, Tibshirani, Friedman, Elements of Statistical Learning,
    section 4.4).
    """
    D = features_ND.shape[1]
    penalty = np.full(D, 1.0 / strength)
    penalty[-1] = 1e-6
    weights = np.zeros((D, labels_NE.shape[1]))
    for column, wanted in enumerate(labels_NE.T.astype(np.float64)):
        w = weights[:, column]
        for _ in range(_STEPS):
            chance = _sigmoid(features_ND @ w)
            slope = features_ND.T @ (chance - wanted) + penalty * w
            curve = (features_ND.T * (chance * (1 - chance))) @ features_ND + np.diag(penalty)
            step = np.linalg.solve(curve, slope)
            w -= step
            if np.abs(step).max() < _CLOSE:
                break
    return weights


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
