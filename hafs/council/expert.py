"""An expert: its specialization, its adapter, and its limits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from hafs.core.errors import ConfigError
from hafs.providers.provider import Tier

Share = Annotated[float, Field(ge=0, le=1)]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class Expert:
    """One option of the config group `expert`."""

    name: str
    """Its name in `expert=`."""
    model: str
    """Its model name in `/v1/models`, in receipts and in the registry."""
    specialization: str
    """What it is asked about, in one line. Routers that ask a model show it to the model."""
    keywords: Sequence[str]
    """Words and phrases, matched as whole words in any case; `crash*` matches any word with this beginning."""
    examples: Sequence[str]
    """Example questions, for routers that learn from examples."""
    threshold: Share
    """From this score on the router is confident, and the expert may answer alone."""
    adapter: str | None
    """Registry name or folder of its adapter, for providers that serve adapters; null: the base model."""
    tier: Tier
    """The tier of the provider's models that answers."""
    system: str | None
    """Its system prompt."""
    max_tokens: Annotated[int, Field(gt=0)]
    """Limit of an answer, if the caller sets none."""
    deadline_seconds: Annotated[float, Field(gt=0)]
    """Deadline of its answer; a panel goes on without it."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"expert {self.name!r}: a name is made of a-z, 0-9, _ and -")

    @cached_property
    def said_first(self) -> Any:
        """Its system prompt as a message; None if it has none."""
        from langchain_core.messages import SystemMessage

        return SystemMessage(self.system) if self.system else None

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """One pattern for all keywords, for lower-case text; None if it has no keywords."""
        words = sorted({word.lower() for word in self.keywords}, key=len, reverse=True)
        if not words:
            return None
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(_whole_word, words))})")


def _whole_word(word: str) -> str:
    parts = [re.escape(part) for part in word.removesuffix("*").split()]
    return r"\s+".join(parts) + ("" if word.endswith("*") else r"(?!\w)")
