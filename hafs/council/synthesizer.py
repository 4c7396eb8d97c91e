"""Merges experts' answers into one. An expert's answer is quoted data in a prompt, never part of its structure."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hafs.providers.provider import Tier


@dataclass(frozen=True, kw_only=True)
class ExpertAnswer:
    """An expert's answer, or the reason why there is none."""

    expert: str
    score: float
    text: str
    """Empty when it failed."""
    failed: str = ""
    """The reason in one line; empty if it answered."""


class Synthesizer(ABC):
    """Merges answers."""

    @abstractmethod
    def merge(self, question: str, said: Sequence[ExpertAnswer]) -> str | list[dict[str, str]]:
        """The merged text, or messages (`role`, `content`) with which a model is asked for it.

        Args:
            question: What was asked.
            said: One for each expert of the panel, ordered by score; at least two of them answered.
        """


@dataclass(frozen=True, kw_only=True)
class Llm(Synthesizer):
    """Asks a model to merge."""

    name: str
    tier: Tier
    max_tokens: Annotated[int, Field(gt=0)]
    instructions: str
    """The system prompt; the answers follow as one JSON document."""

    def merge(self, question: str, said: Sequence[ExpertAnswer]) -> list[dict[str, str]]:
        """A system message, and one user message that is a JSON document with question and answers."""
        return [{"role": "system", "content": self.instructions}, {"role": "user", "content": quoted(question, said)}]


@dataclass(frozen=True, kw_only=True)
class Best(Synthesizer):
    """Takes the answer of the expert with the highest score."""

    name: str
    tier: None
    max_tokens: None
    instructions: None

    def merge(self, question: str, said: Sequence[ExpertAnswer]) -> str:
        """That answer."""
        return next(part.text for part in said if not part.failed)


@dataclass(frozen=True, kw_only=True)
class Concat(Synthesizer):
    """Concatenates all answers."""

    name: str
    tier: None
    max_tokens: None
    instructions: None

    def merge(self, question: str, said: Sequence[ExpertAnswer]) -> str:
        """Each answer under the name of its expert, then the experts that failed."""
        parts = [f"**{part.expert}**\n\n{part.text}" for part in said if not part.failed]
        parts += [f"({part.expert} gave no answer: {part.failed})" for part in said if part.failed]
        return "\n\n".join(parts)


_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "[INST": "\\u005bINST", "[/INST": "\\u005b/INST", "![": "\\u0021["}
"""Escapes inside a JSON string, so that a model or page does not read tags, role tokens or images."""


def quoted(question: str, said: Sequence[ExpertAnswer]) -> str:
    """Question and answers as one JSON document on one line.

    The text of an answer stays inside its string: JSON escapes quotes and line ends, `_ESCAPED` escapes tags.
    """
    answers = [{"expert": p.expert, "answer": p.text} for p in said if not p.failed]
    failed = [{"expert": p.expert, "reason": p.failed} for p in said if p.failed]
    document = json.dumps({"question": question, "answers": answers, "failed": failed}, ensure_ascii=False)
    document = document.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
    for letters, escape in _ESCAPED.items():
        document = document.replace(letters, escape)
    return document
