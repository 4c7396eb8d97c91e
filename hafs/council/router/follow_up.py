"""Follow-ups: texts that say nothing without the question before them, such as "why?" or "the same in 16 bits".

A follow-up is routed as the question it belongs to. A binary logistic regression (L2) over the sentence vector
recognizes it; it is fitted to labelled texts (`follow_up` or `question`) and to the router training questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hafs.council.router.classifier import kept, logistic
from hafs.council.router.encoder import Encoder
from hafs.council.router.rows import read_rows

LABEL = "follow_up"
VERSION = 1
STRENGTH = 30.0
SHORT_WORDS = 3
"""Without an encoder, texts with at most this many words count as follow-ups."""
_LONG_WORDS = 12
_WEIGHT = 4
"""How often each labelled text is repeated, because there are many more questions."""


@dataclass(frozen=True, kw_only=True)
class FollowUps:
    """The follow-up classifier."""

    encoder: Encoder
    path: str
    """The file of labelled texts."""
    questions: Sequence[str]
    """Questions that stand alone."""
    _weights: list[np.ndarray] = field(default_factory=list, init=False, repr=False, compare=False)

    def chance(self, text: str) -> float:
        """The probability that a text is a follow-up."""
        logits = (features([text], self.encoder.vectors([text])) @ self._once())[0]
        return float(1 / (1 + np.exp(logits[0] - logits[1])))

    def _once(self) -> np.ndarray:
        if not self._weights:
            self._weights.append(kept(self.made_of(), self.fitted, (None, 2)))
        return self._weights[0]

    def made_of(self) -> tuple[Any, ...]:
        """Everything that determines the weights."""
        return "follow-ups", VERSION, self._labelled(), self.encoder

    def fitted(self) -> np.ndarray:
        """float64[D, 2], fitted now."""
        texts, labels = zip(*self._labelled(), strict=True)
        return logistic(features(texts, self.encoder.vectors(texts)), labels, strength=STRENGTH)

    def _labelled(self) -> list[tuple[str, int]]:
        told = [(row.question, int(LABEL in row.experts)) for row in read_rows(self.path)] * _WEIGHT
        short = sorted(self.questions, key=len)[: len(self.questions) // 3]  # long texts are questions anyway
        return told + [(text, 0) for text in short]


def features(texts: Sequence[str], vectors_ND: np.ndarray) -> np.ndarray:
    """float64[N, D + 2]: the sentence vector, the length in words, and a one."""
    words = [[min(len(text.split()), _LONG_WORDS) / _LONG_WORDS, 1.0] for text in texts]
    return np.concatenate([vectors_ND, np.array(words)], 1)


def is_short(text: str) -> float:
    """1.0 for a text of few words, else 0.0."""
    return float(len(text.split()) <= SHORT_WORDS)
