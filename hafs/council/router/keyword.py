"""Routing by keywords: whole words only, and a score that saturates instead of growing with the list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hafs.council.router import Method, Panel


@dataclass(frozen=True, kw_only=True)
class Keyword(Method):
    """Each further keyword halves (or what `remainder` says) the doubt that is left."""

    remainder: Annotated[float, Field(gt=0, lt=1)]
    """Doubt that one keyword leaves: n different keywords score 1 - remainder^n."""

    async def score(self, question: str, panel: Panel) -> Mapping[str, float]:
        """1 - remainder^n for n different keywords of an expert that the question holds."""
        return {name: 1 - self.remainder ** len(hits(question, expert)) for name, expert in panel.experts.items()}


def hits(question: str, expert: object) -> set[str]:
    """The different keywords of an expert in a question."""
    pattern = getattr(expert, "pattern", None)
    return {" ".join(found.split()) for found in pattern.findall(question.lower())} if pattern else set()
