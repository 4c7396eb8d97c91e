"""Routing by meaning: a small classifier over the sentence vectors of labelled questions.

It learns from each expert's own `examples`, the shipped router training questions, and the rows of a routing file that
are not held out. The model is one multinomial logistic regression (L2) over the sentence vector and the keyword scores;
its classes are the sets of experts that occur. An expert's score is the summed probability of the sets that contain it.
The weights for the shipped experts and each of their subsets are shipped; for another panel they are fitted when the
router is first asked, and kept in the cache. A question for an expert outside of the panel is learned as a question for
the other experts or for none of them, so the router chooses from a subset as it does from the whole panel.

A new expert that no labelled question names is a new file with a few examples: its score says how much nearer the
question is to one of them than to any other known text.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import combinations
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hafs.council.expert import Expert
from hafs.council.router import NO_EXPERT, Method, Panel
from hafs.council.router.classifier import kept, logistic
from hafs.council.router.encoder import Encoder
from hafs.council.router.follow_up import FollowUps
from hafs.council.router.keyword import hits
from hafs.council.router.rows import Row, dealt, read_rows

Share = Annotated[float, Field(ge=0, lt=1)]
Experts = Mapping[str, Expert]
VERSION = 3  # of what is learned and how
_CLEARNESS = 20.0
"""A difference of 0.1 in cosine similarity is a probability of 0.88."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The fitted classifier of one panel."""

    sets: Sequence[frozenset[str]]
    """The sets of experts that occur."""
    weights_DS: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Embedding(Method):
    """A classifier over sentence vectors."""

    encoder: Encoder
    follow_ups: str | None
    """A file of texts labelled `follow_up` or `question`; None: short texts are follow-ups."""
    training_questions: str | None
    """A routing file that is used for training as a whole."""
    rows: str | None
    """A routing file of which a part is held out."""
    held_out: Share
    """Share of the groups in `rows` that is held out of training."""
    seed: int
    """The seed of the split."""
    keyword_weight: Annotated[float, Field(ge=0)]
    """The weight of keyword scores relative to the sentence vector."""
    remainder: Annotated[float, Field(gt=0, lt=1)]
    """As in the keyword router."""
    strength: Annotated[float, Field(gt=0)]
    """How closely the classifier follows its examples: 1 / L2."""
    sharpness: Annotated[float, Field(gt=0)]
    """The exponent of the sets' probabilities: above 1, the most probable set counts more."""
    _learned: dict[Any, Learned] = field(default_factory=dict, init=False, repr=False, compare=False)
    _topics: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def sentences(self) -> Encoder:
        """The encoder."""
        return self.encoder

    def load(self, panel: Panel) -> None:
        """Load the encoder, the classifier of the panel and that of follow-ups."""
        self.probabilities("What does it do?", panel)
        if self.follow_ups is not None:
            self.recognizer.chance("Why?")

    async def follows(self, text: str) -> float:
        """The probability according to the follow-up classifier; it is computed in a thread."""
        if self.follow_ups is None:
            return await super().follows(text)
        return await asyncio.to_thread(self.recognizer.chance, text)

    @cached_property
    def recognizer(self) -> FollowUps:
        """The follow-up classifier."""
        assert self.follow_ups is not None
        questions = [row.question for row in self._told()[0]]
        return FollowUps(encoder=self.encoder, path=self.follow_ups, questions=questions)

    async def score(self, question: str, panel: Panel) -> Mapping[str, float]:
        """The probability of each expert; it is computed in a thread."""
        return await asyncio.to_thread(self.probabilities, question, panel)

    def probabilities(self, question: str, panel: Panel) -> dict[str, float]:
        """The probability of each expert, and of `NO_EXPERT`."""
        familiar, strangers = self.known(panel)
        vectors_1D = self.encoder.vectors([question])
        scores = self._classified(question, vectors_1D, familiar)
        near = self._near(vectors_1D, familiar, strangers)
        left = 1 - max(near.values(), default=0.0)
        return {name: score * left for name, score in scores.items()} | near

    def known(self, panel: Panel) -> tuple[Experts, Experts]:
        """The experts that labelled questions name, and the others; if they name none of them, all count as known."""
        _, names = self._told()
        told = names & set(panel.experts) or set(panel.experts)
        ordered = {name: panel.experts[name] for name in sorted(panel.experts)}  # what is learned knows no order
        familiar = {name: expert for name, expert in ordered.items() if name in told}
        return familiar, {name: expert for name, expert in ordered.items() if name not in told}

    def _classified(self, question: str, vectors_1D: np.ndarray, experts: Experts) -> dict[str, float]:
        learned = self._once(experts)
        logits_S = (self._features([question], vectors_1D, experts) @ learned.weights_DS)[0]
        chances_S = np.exp(self.sharpness * (logits_S - logits_S.max()))
        chances_S /= chances_S.sum()
        scores = {name: float(chances_S[[name in who for who in learned.sets]].sum()) for name in experts}
        return scores | {NO_EXPERT: float(chances_S[[not who for who in learned.sets]].sum())}

    def _near(self, vectors_1D: np.ndarray, familiar: Experts, strangers: Experts) -> dict[str, float]:
        """The score of each expert that no labelled question names: is the nearest text one of its examples?"""
        if not strangers:
            return {}
        examples = self.examples(familiar) + [
            (text, frozenset({e.name})) for e in strangers.values() for text in e.examples
        ]
        texts = tuple(text for text, _ in examples)
        with self._lock:
            if texts not in self._topics:
                made_of = (VERSION, "topics", texts, self.encoder)
                self._topics[texts] = kept(
                    made_of, lambda: self.encoder.topics(self.encoder.vectors(texts)), (len(texts), None)
                )
        close_N = self._topics[texts] @ self.encoder.topics(vectors_1D)[0]
        return {name: nearness(close_N, np.array([name in who for _, who in examples])) for name in strangers}

    def _once(self, experts: Experts) -> Learned:
        """The classifier for these experts: shipped, cached, or fitted now."""
        key = tuple((e.name, tuple(e.examples), tuple(e.keywords)) for e in experts.values())
        with self._lock:
            if key not in self._learned:
                sets = self.sets(experts)
                weights_DS = kept(self.made_of(experts), lambda: self.fitted(experts), (None, len(sets)))
                self._learned[key] = Learned(sets=sets, weights_DS=weights_DS)
            return self._learned[key]

    def sets(self, experts: Experts) -> list[frozenset[str]]:
        """The sets of experts that occur, in the order of the classifier's columns; an empty one is `NO_EXPERT`."""
        return sorted({who for _, who in self.examples(experts)}, key=sorted)

    def made_of(self, experts: Experts) -> tuple[Any, ...]:
        """Everything that determines the weights."""
        words = tuple((e.name, tuple(e.keywords)) for e in experts.values())
        examples = [(text, sorted(who)) for text, who in self.examples(experts)]
        return VERSION, words, examples, self.encoder, self.keyword_weight, self.remainder, self.strength

    def fitted(self, experts: Experts) -> np.ndarray:
        """The weights, float64[D, sets], fitted now."""
        examples, sets = self.examples(experts), self.sets(experts)
        texts = [text for text, _ in examples]
        _log.info("the embedding router learns from %s questions, once for these experts", f"{len(texts):,}")
        features_ND = self._features(texts, self.encoder.vectors(texts), experts)
        return logistic(features_ND, [sets.index(who) for _, who in examples], strength=self.strength)

    def examples(self, experts: Experts) -> list[tuple[str, frozenset[str]]]:
        """The training set: questions, and which of these experts should answer each."""
        own = [(text, frozenset({e.name})) for e in experts.values() for text in e.examples]
        rows, names = self._told()
        if not names & experts.keys():  # the rows are of another subject
            return own
        return own + [(row.question, row.experts.intersection(experts)) for row in rows]

    def _told(self) -> tuple[list[Row], frozenset[str]]:
        """The labelled questions outside of the held-out part, and the experts that they name."""
        return _told(self.training_questions, self.rows, self.held_out, self.seed)

    def _features(self, texts: Sequence[str], vectors_ND: np.ndarray, experts: Experts) -> np.ndarray:
        """float64[N, F]: the vector, keyword scores, their products in pairs, and a one."""
        spoken = [expert for expert in experts.values() if expert.keywords]
        scores = [[1 - self.remainder ** len(hits(text, expert)) for expert in spoken] for text in texts]
        both = [[row[i] * row[j] for i, j in combinations(range(len(spoken)), 2)] for row in scores]
        ones = np.ones((len(texts), 1))
        words = [self.keyword_weight * np.array(part, np.float64).reshape(len(texts), -1) for part in (scores, both)]
        return np.concatenate([vectors_ND, *words, ones], 1)


def nearness(close_N: np.ndarray, own_N: np.ndarray) -> float:
    """In [0, 1]: 0.5 where an expert's nearest example is as close (cosine) as the nearest text of all others."""
    if not own_N.any():
        return 0.0
    others = close_N[~own_N].max(initial=-1.0)
    return float(1 / (1 + np.exp(-_CLEARNESS * (close_N[own_N].max() - others))))


@cache
def _told(
    training_questions: str | None, rows: str | None, held_out: float, seed: int
) -> tuple[list[Row], frozenset[str]]:
    told = [
        *(read_rows(training_questions) if training_questions else ()),
        *(dealt(read_rows(rows), held_out, seed=seed)[0] if rows else ()),
    ]
    return told, frozenset().union(*(row.experts for row in told))
