"""Who should answer: every router scores every expert in [0, 1], may abstain, and only raises for a missing package.

Methods differ in `score` alone; what follows from scores is decided here, once:

* one expert at or above its own threshold answers alone;
* several at or above `multi_threshold` answer together, the best first, at most `most` of them; a generalist
  (`Panel.generalists`) never answers together with others;
* where the method is sure that the question is for none of the panel (`NOBODY`), the default expert answers;
* with none of these, the router abstains and the default expert answers.

The default expert is any expert of the panel. Being the default changes nothing else about it.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from hafs.config.extras import missing_extra
from hafs.core.errors import ConfigError
from hafs.council.expert import Expert
from hafs.council.router.follow_up import is_short

__all__ = ["NOBODY", "Method", "Panel", "Router", "Routing", "picked"]

_log = logging.getLogger(__name__)
NOBODY = ""
"""Where a method's scores name it: how sure it is that the question is for none of the panel."""
MOST_TURNS = 8
"""Texts of a conversation that are looked at, to find the question that a follow-up belongs to."""
FOLLOWS = 0.5
"""From this probability on, a text counts as a follow-up."""
LONGEST_QUESTION = 4000
"""Characters a router reads of a question: its beginning and its end."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The experts to choose from, and what a router may ask."""

    experts: Mapping[str, Expert]
    default: str
    """Who answers when nobody is confident; it may be a specialist."""
    generalists: frozenset[str] = frozenset()
    """Experts that are for whatever no specialist is for: they answer alone and sit on no panel of several."""
    multi_threshold: float
    most: int
    """Experts that answer together."""
    fast: Any = None
    """The chat model that routers may ask; None: there is none."""
    scorer: Callable[..., Awaitable[Sequence[float]]] | None = None
    """Scores labels by their next-token probabilities, where the provider can: (messages, labels, adapter=)."""

    def __post_init__(self) -> None:
        if self.default not in self.experts:
            raise ConfigError(
                f"default_expert is {self.default!r}, which is not in the panel",
                hint=f"one of: {', '.join(self.experts)}",
            )


@dataclass(frozen=True, kw_only=True)
class Routing:
    """What a router found."""

    scores: Mapping[str, float]
    """Of every expert, in [0, 1]."""
    picked: tuple[str, ...]
    """Who answers, the best first."""
    decided_by: str
    """The router that decided, or `default`."""
    seconds: float
    nobody: float = 0.0
    """How sure the router is that none of them should, in [0, 1]."""
    turns_back: int = 0
    """How many follow-ups came after the question that decided; 0: the last text decided."""
    notes: tuple[str, ...] = ()
    """Why a router abstained, where it says so."""

    def facts(self) -> dict[str, Any]:
        """The receipt's part about it."""
        facts = {
            "scores": {name: round(score, 4) for name, score in self.scores.items()},
            "picked": list(self.picked),
            "decided_by": self.decided_by,
            "seconds": round(self.seconds, 5),
        }
        facts |= {"turns_back": self.turns_back} if self.turns_back else {}
        return facts | ({"notes": list(self.notes)} if self.notes else {})


class Method(ABC):
    """A way to score experts for a question."""

    @abstractmethod
    async def score(self, question: str, panel: Panel) -> "Mapping[str, Any] | Routing | None":
        """Scores by expert, and of `NOBODY`, anything in [0, 1]; what is left out counts as 0.

        None, or an exception: it abstains.
        """

    async def follows(self, text: str) -> float:
        """The probability that a text is a follow-up: it says nothing without the question before it."""
        return is_short(text)

    @property
    def adapters(self) -> Sequence[str]:
        """Adapters it asks models with, by registry name or folder."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Router:
    """A method, and when its word counts."""

    name: str
    method: Method
    doubt: Annotated[float, Field(ge=0, le=1)]
    """It abstains when an expert that it would leave out scores above this."""

    @property
    def adapters(self) -> Sequence[str]:
        """Adapters that its method asks models with."""
        return self.method.adapters

    async def consider(self, question: str, panel: Panel) -> Routing:
        """Its own opinion: `picked` is empty when it abstains."""
        began = time.perf_counter()
        scores, nobody, notes = dict.fromkeys(panel.experts, 0.0), 0.0, ()
        try:
            given = await self.method.score(shortened(question), panel)
            if isinstance(given, Routing):
                return given
            if given:
                scores = {name: sane(given.get(name)) for name in panel.experts}
                nobody = sane(given.get(NOBODY))
        except Exception as error:  # whatever a model, a file or a network did: a question is still answered
            if missing := missing_extra(error):  # except by an install that lacks what the router is made of
                raise missing from error
            _log.debug("router %s abstains", self.name, exc_info=True)
            notes = (f"{self.name}: {type(error).__name__}",)
        chosen = picked(scores, panel, nobody)
        left_out = max((score for name, score in scores.items() if name not in chosen), default=0.0)
        return Routing(
            scores=scores, picked=chosen if left_out <= self.doubt else (), decided_by=self.name,
            seconds=time.perf_counter() - began, nobody=nobody, notes=notes,
        )  # fmt: skip

    async def route(self, question: str | Sequence[str], panel: Panel) -> Routing:
        """Who answers; the default expert where the router abstains.

        Args:
            question: What is asked; or what a person said in a conversation, the last text last. A follow-up is routed
                as the question it belongs to.
            panel: The experts to choose from.
        """
        turns = [question] if isinstance(question, str) else list(question)
        text, turns_back = await self.meant(turns)
        found = await self.consider(text, panel)
        if not found.picked and (before := turns[: len(turns) - turns_back - 1]):  # the conversation decides
            text, more = await self.meant(before)
            earlier = await self.consider(text, panel)
            found, turns_back = (earlier, turns_back + 1 + more) if earlier.picked else (found, turns_back)
        found = replace(found, turns_back=turns_back)
        return found if found.picked else replace(found, picked=(panel.default,), decided_by="default")

    async def meant(self, turns: Sequence[str]) -> tuple[str, int]:
        """The last text that is no follow-up, and how many texts came after it."""
        turns = turns[-MOST_TURNS:]
        for turns_back, text in enumerate(reversed(turns)):
            if turns_back == len(turns) - 1 or await self._follows(text) < FOLLOWS:
                return text, turns_back
        return "", 0

    async def _follows(self, text: str) -> float:
        try:
            return sane(await self.method.follows(shortened(text)))
        except Exception:  # for example, no encoder is installed
            _log.debug("router %s cannot tell follow-ups", self.name, exc_info=True)
            return is_short(text)


def picked(scores: Mapping[str, float], panel: Panel, nobody: float = 0.0) -> tuple[str, ...]:
    """Who answers at these scores, the best first; nobody: the router abstains.

    Args:
        scores: Of every expert of the panel.
        panel: The experts, and from which scores on they answer.
        nobody: How sure the method is that none of them should.
    """
    if nobody >= panel.multi_threshold:
        return (panel.default,)
    ranked = sorted(panel.experts, key=lambda name: -scores[name])  # stable: the panel's order breaks ties
    several = [name for name in ranked if scores[name] >= panel.multi_threshold]
    if several and several[0] not in panel.generalists:
        several = [name for name in several if name not in panel.generalists][: panel.most]
        if len(several) > 1:
            return tuple(several)
    return tuple(name for name in ranked[:1] if scores[name] >= panel.experts[name].threshold)


def sane(score: Any) -> float:
    """A score in [0, 1]; what is no number is 0."""
    if isinstance(score, bool) or not isinstance(score, int | float) or math.isnan(score):
        return 0.0
    return float(min(max(score, 0.0), 1.0))


def shortened(question: str) -> str:
    """A question without the middle of the log that was pasted into it."""
    if len(question) <= LONGEST_QUESTION:
        return question
    half = LONGEST_QUESTION // 2
    return f"{question[:half]}\n...\n{question[-half:]}"
