"""Routing by the cheapest router that is sure: keyword, then embedding, then a model, then the default expert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hafs.council.router import Method, Panel, Router, Routing


@dataclass(frozen=True, kw_only=True)
class Cascade(Method):
    """Asks routers in order until one does not abstain."""

    routers: Mapping[str, Router | None]
    """By name, in the order in which they are asked; null takes one out."""

    @property
    def adapters(self) -> Sequence[str]:
        """Those of its routers."""
        return [adapter for router in self.routers.values() if router for adapter in router.adapters]

    async def follows(self, text: str) -> float:
        """What the first of its routers says."""
        first = next((router for router in self.routers.values() if router), None)
        return await first.method.follows(text) if first else await super().follows(text)

    async def score(self, question: str, panel: Panel) -> Routing:
        """The opinion of the first router that has one; else the last scores that were given, and nobody picked."""
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
