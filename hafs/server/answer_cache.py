"""Answers that are kept in memory: the same conversation with the same parameters is answered once.

LangChain's cache, which compares the complete request. It does not apply to streams.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from langchain_core.caches import InMemoryCache
from langchain_core.messages.ai import UsageMetadata

FREE = {"cached": True, "calls": 0, "input_tokens": 0, "output_tokens": 0, "cost": 0.0}
"""The receipt's fields of an answer from the cache."""


class AnswerCache(InMemoryCache):
    """Keeps the last answers of a process.

    Args:
        maxsize: The number of answers.
    """

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Any] | None:
        """The kept answer, whose receipt says that it cost nothing this time; None: there is none."""
        found = super().lookup(prompt, llm_string)
        if found is None:
            return None
        kept: Any = deepcopy(found)
        for generation in kept:
            message = generation.message
            message.response_metadata["receipt"] |= FREE
            message.usage_metadata = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
        return kept
