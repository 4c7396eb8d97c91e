"""An expert: what a specialist is good at, which adapter it speaks with, and how long it may take."""

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
    """What one `expert=` option describes."""

    name: str
    """As in `expert=`."""
    model: str
    """The name it goes by: in `/v1/models`, in receipts, in the registry's plans."""
    specialization: str
    """One line: what it is asked about. The routers that are models read it."""
    keywords: Sequence[str]
    """Words and phrases, matched whole and in any case; `crash*` is any word that begins so."""
    examples: Sequence[str]
    """Questions it should get, for routers that learn from examples."""
    threshold: Share
    """A score from here on is confidence: the expert may answer alone."""
    adapter: str | None
    """Registry name or folder of its adapter, for providers that carry adapters; null: the bare base."""
    tier: Tier
    """Which of a provider's models it asks for."""
    system: str | None
    """Put before the conversation."""
    max_tokens: Annotated[int, Field(gt=0)]
    """Of an answer, where the caller sets no limit."""
    deadline_seconds: Annotated[float, Field(gt=0)]
    """Of its answer; a panel goes on without it."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"expert {self.name!r}: a name is made of a-z, 0-9, _ and -")

    @cached_property
    def said_first(self) -> Any:
        """Its own words as a message; None without any."""
        from langchain_core.messages import SystemMessage

        return SystemMessage(self.system) if self.system else None

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """Its keywords as one pattern of whole words in lower-case text; None without keywords."""
        words = sorted({word.lower() for word in self.keywords}, key=len, reverse=True)
        if not words:
            return None
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(_whole_word, words))})")


def _whole_word(word: str) -> str:
    parts = [re.escape(part) for part in word.removesuffix("*").split()]
    return r"\s+".join(parts) + ("" if word.endswith("*") else r"(?!\w)")
