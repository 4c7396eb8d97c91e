"""Asks several routers in order; the first one that is sure decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hafs.council.router import Method, Panel, Router, Routing


@dataclass(frozen=True, kw_only=True)
class Cascade(Method):
    """Asks routers in order until one does not abstain."""

    routers: Mapping[str, Router | None]
    """By name, in order; null removes one."""

    @property
    def adapters(self) -> Sequence[str]:
        """The adapters of all its routers."""
        return [adapter for router in self.routers.values() if router for adapter in router.adapters]

    @property
    def sentences(self) -> Any:
        """The first sentence encoder of its routers."""
        return next((router.encoder for router in self.routers.values() if router and router.encoder), None)

    def load(self, panel: Panel) -> None:
        """Load what its routers would load at the first question."""
        for router in self.routers.values():
            if router:
                router.load(panel)

    async def follows(self, text: str) -> float:
        """The probability according to its first router."""
        first = next((router for router in self.routers.values() if router), None)
        return await first.method.follows(text) if first else await super().follows(text)

    async def score(self, question: str, panel: Panel) -> Routing:
        """The decision of the first router that is sure; else the last scores, without a picked expert."""
        seconds, notes, told = (
            0.0,
            [],
            Routing(scores=dict.fromkeys(panel.experts, 0.0), picked=(), decided_by="cascade", seconds=0),
        )
        for router in self.routers.values():
            if router is None:
                continue
            found = await router.consider(question, panel)
            seconds, notes = seconds + found.seconds, [*notes, *found.notes]
            if found.picked or any(found.scores.values()):
                told = found
            if found.picked:
                break
        return replace(told, seconds=seconds, notes=tuple(notes))
