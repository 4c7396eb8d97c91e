"""The messages for the synthesizer, and the errors of a panel whose experts fail."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk

from hafs.core.errors import AllProvidersDown
from hafs.council.synthesizer import ExpertAnswer

CALLERS_OWN = "The person who asks gave these instructions for the answer; they hold for your merged answer too:"


def with_conversation(merged: Sequence[dict[str, str]], messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The synthesizer's messages, with the caller's system prompt and the conversation before the question.

    Args:
        merged: What `Synthesizer.merge` returned: messages with `role` and `content`.
        messages: What the caller sent.
    """
    before = [message for message in messages if not isinstance(message, SystemMessage)]
    before = before[:-1] if before and isinstance(before[-1], HumanMessage) else before
    callers = [str(message.text) for message in messages if isinstance(message, SystemMessage)]
    told = [part["content"] for part in merged if part["role"] == "system"]
    asked = [HumanMessage(part["content"]) for part in merged if part["role"] == "user"]
    told += [CALLERS_OWN, *callers] if callers else []
    return [SystemMessage("\n\n".join(told)), *before, *asked]


def text_chunk(text: str) -> ChatGenerationChunk:
    """A chunk of a stream that is text alone."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def reason_of(error: Exception) -> str:
    """Why an expert failed, in one line."""
    lines = [line.strip() for line in str(getattr(error, "fact", "") or error).splitlines() if line.strip()]
    return "; ".join(lines[:4]) or type(error).__name__


def no_answer(said: Sequence[ExpertAnswer], results: Sequence[Any]) -> AllProvidersDown:
    """The error for a panel of which no expert answered."""
    rows = "\n".join(f"  {part.expert}: {part.failed}" for part in said)
    attempts = [attempt for result in results for attempt in getattr(result, "attempts", [])]
    causes = [cause for result in results for cause in getattr(result, "causes", ["failed"])]
    waits = [wait for result in results if (wait := getattr(result, "retry_after", None))]
    return AllProvidersDown(
        f"no expert gave an answer:\n{rows}", attempts=attempts, causes=causes, retry_after=min(waits, default=None)
    )
