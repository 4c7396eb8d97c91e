"""Decides who answers. A router scores every expert in [0, 1], may abstain, and raises only for a missing package.

Methods differ in `score` alone; what follows from scores is decided here, once:

* one expert at or above its own threshold answers alone;
* several at or above `multi_threshold` answer together, the best first, at most `most` of them; a generalist
  (`Panel.generalists`) never answers together with others;
* where the method is sure that the question is for none of the panel (`NO_EXPERT`), the default expert answers;
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

__all__ = ["NO_EXPERT", "Method", "Panel", "Router", "Routing", "picked"]

_log = logging.getLogger(__name__)
NO_EXPERT = ""
"""The key in a method's scores for how sure it is that no expert of the panel should answer."""
MOST_TURNS = 8
"""The number of texts that are searched for the question that a follow-up belongs to."""
FOLLOWS = 0.5
"""From this probability on, a text counts as a follow-up."""
LONGEST_QUESTION = 4000
"""Characters of a question that a router reads: half from its beginning, half from its end."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The experts to choose from, and the models that a router may ask."""

    experts: Mapping[str, Expert]
    default: str
    """The expert that answers if the router is not sure; it may be a specialist."""
    generalists: frozenset[str] = frozenset()
    """Experts for questions that belong to no specialist; they always answer alone."""
    multi_threshold: float
    most: int
    """The maximum number of experts that answer together."""
    fast: Any = None
    """The chat model that routers may ask, if there is one."""
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
    """The decision of a router."""

    scores: Mapping[str, float]
    """Of every expert, in [0, 1]."""
    picked: tuple[str, ...]
    """Who answers, the best first."""
    decided_by: str
    """The router that decided, or `default`."""
    seconds: float
    no_expert: float = 0.0
    """How sure the router is that no expert of the panel should answer, in [0, 1]."""
    turns_back: int = 0
    """How many follow-ups came after the question that decided; 0: the last text decided."""
    notes: tuple[str, ...] = ()
    """Why routers abstained, if they say so."""

    def facts(self) -> dict[str, Any]:
        """The part of the receipt about the routing."""
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
        """Scores by expert, and of `NO_EXPERT`, anything in [0, 1]; what is left out counts as 0.

        None, or an exception: it abstains.
        """

    async def follows(self, text: str) -> float:
        """The probability that a text is a follow-up: it says nothing without the question before it."""
        return is_short(text)

    @property
    def adapters(self) -> Sequence[str]:
        """Adapters of the models that it asks, by registry name or folder."""
        return ()

    @property
    def sentences(self) -> Any:
        """Its sentence encoder; None: it has none."""
        return None

    def load(self, panel: "Panel") -> None:  # noqa: B027  most methods load nothing
        """Load what the first question would load: files, not models of providers."""


@dataclass(frozen=True, kw_only=True)
class Router:
    """A method, and the doubt above which it abstains."""

    name: str
    method: Method
    doubt: Annotated[float, Field(ge=0, le=1)]
    """It abstains if an expert that it would leave out scores above this."""

    @property
    def adapters(self) -> Sequence[str]:
        """Adapters of the models that its method asks."""
        return self.method.adapters

    @property
    def encoder(self) -> Any:
        """The sentence encoder of its method; None: it has none."""
        return self.method.sentences

    def load(self, panel: Panel) -> None:
        """Load what the first question would load."""
        self.method.load(panel)

    async def consider(self, question: str, panel: Panel) -> Routing:
        """Its own decision; `picked` is empty if it abstains."""
        began = time.perf_counter()
        scores, no_expert, notes = dict.fromkeys(panel.experts, 0.0), 0.0, ()
        try:
            given = await self.method.score(shortened(question), panel)
            if isinstance(given, Routing):
                return given
            if given:
                scores = {name: sane(given.get(name)) for name in panel.experts}
                no_expert = sane(given.get(NO_EXPERT))
        except Exception as error:  # errors of models, files or networks do not prevent an answer
            if missing := missing_extra(error):  # but a missing package does
                raise missing from error
            _log.debug("router %s abstains", self.name, exc_info=True)
            notes = (f"{self.name}: {type(error).__name__}",)
        chosen = picked(scores, panel, no_expert)
        left_out = max((score for name, score in scores.items() if name not in chosen), default=0.0)
        return Routing(
            scores=scores, picked=chosen if left_out <= self.doubt else (), decided_by=self.name,
            seconds=time.perf_counter() - began, no_expert=no_expert, notes=notes,
        )  # fmt: skip

    async def route(self, question: str | Sequence[str], panel: Panel) -> Routing:
        """Decide who answers; the default expert does if the router abstains.

        Args:
            question: A question; or the user's texts in a conversation, oldest first. A follow-up is routed as the
                question that it belongs to.
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
        """The last text that is not a follow-up, and how many texts come after it."""
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


def picked(scores: Mapping[str, float], panel: Panel, no_expert: float = 0.0) -> tuple[str, ...]:
    """Who answers at these scores, ordered by score; empty: the router abstains.

    Args:
        scores: Of every expert of the panel.
        panel: The experts, and from which scores on they answer.
        no_expert: How sure the method is that none of them should answer.
    """
    if no_expert >= panel.multi_threshold:
        return (panel.default,)
    ranked = sorted(panel.experts, key=lambda name: -scores[name])  # stable: the panel's order breaks ties
    several = [name for name in ranked if scores[name] >= panel.multi_threshold]
    if several and several[0] not in panel.generalists:
        several = [name for name in several if name not in panel.generalists][: panel.most]
        if len(several) > 1:
            return tuple(several)
    return tuple(name for name in ranked[:1] if scores[name] >= panel.experts[name].threshold)


def sane(score: Any) -> float:
    """A score in [0, 1]; values that are not numbers become 0."""
    if isinstance(score, bool) or not isinstance(score, int | float) or math.isnan(score):
        return 0.0
    return float(min(max(score, 0.0), 1.0))


def shortened(question: str) -> str:
    """A question without its middle, if it is too long (for example a pasted log)."""
    if len(question) <= LONGEST_QUESTION:
        return question
    half = LONGEST_QUESTION // 2
    return f"{question[:half]}\n...\n{question[-half:]}"
