"""Routing by whole keywords, with a score that saturates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hafs.council.router import Method, Panel


@dataclass(frozen=True, kw_only=True)
class Keyword(Method):
    """Each keyword multiplies the remaining doubt by `remainder`."""

    remainder: Annotated[float, Field(gt=0, lt=1)]
    """The doubt that one keyword leaves: n different keywords score 1 - remainder^n."""

    async def score(self, question: str, panel: Panel) -> Mapping[str, float]:
        """1 - remainder^n, where the question contains n different keywords of the expert."""
        return {name: 1 - self.remainder ** len(hits(question, expert)) for name, expert in panel.experts.items()}


def hits(question: str, expert: object) -> set[str]:
    """The different keywords of an expert that a question contains."""
    pattern = getattr(expert, "pattern", None)
    return {" ".join(found.split()) for found in pattern.findall(question.lower())} if pattern else set()
