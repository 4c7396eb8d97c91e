"""Routing by meaning: the experts' examples as vectors, and a small classifier on top of them.

What it learns from: each expert's own `examples`, and the rows of a routing file that are not held out. One multinomial
logistic regression (L2) over the sentence vector and the keyword scores, whose classes are the sets of experts that
occur; fitted in a second when the router is first asked and kept in the cache. So a new expert is a new file with a few
examples. An expert's score is the summed probability of the sets it is in.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Annotated, Any

import numpy as np
import xxhash
from pydantic import Field

from hafs.router import Method, Panel
from hafs.router.encoder import Encoder
from hafs.router.keyword import hits
from hafs.router.rows import Row, dealt, read_rows

Share = Annotated[float, Field(ge=0, lt=1)]
VERSION = 2  # of what is learned and how
_STEPS = 80


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
    sharpness: Annotated[float, Field(gt=0)]
    """Power to which the sets' probabilities are raised: above 1, the likeliest set counts more."""
    _fitted: dict[Any, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    async def score(self, question: str, panel: Panel) -> Mapping[str, float]:
        """The probability of each expert, found beside the event loop."""
        return await asyncio.to_thread(self.probabilities, question, panel)

    def probabilities(self, question: str, panel: Panel) -> dict[str, float]:
        """The probability that each expert should answer."""
        texts, labels = self.examples(panel)
        sets = sorted(set(labels), key=sorted)
        logits = self._features([question], panel) @ self._weights(panel, texts, [sets.index(who) for who in labels])
        chances = np.exp(self.sharpness * (logits[0] - logits.max()))
        chances /= chances.sum()
        return {name: float(chances[[name in who for who in sets]].sum()) for name in panel.experts}

    def _weights(self, panel: Panel, texts: list[str], classes: list[int]) -> np.ndarray:
        """float64[D, sets], fitted once for each panel."""
        key = tuple((e.name, tuple(e.examples), tuple(e.keywords)) for e in panel.experts.values())
        with self._lock:
            if key not in self._fitted:
                made_of = (
                    VERSION,
                    key,
                    texts,
                    classes,
                    self.encoder,
                    self.keyword_weight,
                    self.remainder,
                    self.strength,
                )
                self._fitted[key] = kept(
                    made_of, lambda: logistic(self._features(texts, panel), classes, strength=self.strength)
                )
            return self._fitted[key]

    def examples(self, panel: Panel) -> tuple[list[str], list[frozenset[str]]]:
        """What is learned from: questions, and who should answer each."""
        pairs = [(text, frozenset({e.name})) for e in panel.experts.values() for text in e.examples]
        if self.rows:
            learned, _ = _dealt(self.rows, self.held_out, self.seed)
            pairs += [(row.question, row.experts) for row in learned if row.experts <= set(panel.experts)]
        return [text for text, _ in pairs], [who for _, who in pairs]

    def _features(self, texts: Sequence[str], panel: Panel) -> np.ndarray:
        """float64[N, D]: the vector, keyword scores, their products in pairs, and a one."""
        experts = [expert for expert in panel.experts.values() if expert.keywords]
        scores = [[1 - self.remainder ** len(hits(text, expert)) for expert in experts] for text in texts]
        both = [[row[i] * row[j] for i, j in combinations(range(len(experts)), 2)] for row in scores]
        ones = np.ones((len(texts), 1))
        words = [self.keyword_weight * np.array(part, np.float64).reshape(len(texts), -1) for part in (scores, both)]
        return np.concatenate([self.encoder.vectors(texts), *words, ones], 1)


def kept(made_of: Any, fit: Callable[[], np.ndarray]) -> np.ndarray:
    """The weights made of these words, from the cache where they are there and whole."""
    from hafs.model.weights import cache_folder

    path = cache_folder() / "router" / f"{xxhash.xxh3_64_hexdigest(repr(made_of).encode())}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        weights = fit()
    with suppress(OSError):  # a cache that cannot be written costs time, not an answer
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.stem}-{os.getpid()}-{threading.get_ident()}.npy")
        np.save(draft, weights)
        draft.replace(path)
    return weights


def logistic(features_ND: np.ndarray, classes: Sequence[int], *, strength: float) -> np.ndarray:
    """Weights, float64[D, classes], of an L2-regularized multinomial logistic regression; the last feature is free."""
    import torch

    x_ND, wanted_N = torch.from_numpy(features_ND), torch.tensor(classes)
    w = torch.zeros(x_ND.shape[1], max(classes) + 1, dtype=x_ND.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        told = torch.nn.functional.cross_entropy(x_ND @ w, wanted_N) + (w[:-1] ** 2).sum() / (
            2 * strength * len(classes)
        )
        told.backward()
        return told

    optimizer.step(loss)  # type: ignore[arg-type]
    return w.detach().numpy()


@cache
def _dealt(path: str, held_out: float, seed: int) -> tuple[list[Row], list[Row]]:
    return dealt(read_rows(path), held_out, seed=seed)
