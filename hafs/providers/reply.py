"""Checks of an answer: finish reason, cost, completeness."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from hafs.providers.parse import THINKING
from hafs.providers.provider_error import ProviderError

BROKEN_CALL = "the arguments of a tool call are not JSON"
LOGPROBS = "logprobs"
_REASONS = {
    "end_turn": "stop", "stop_sequence": "stop", "complete": "stop", "max_tokens": "length", "model_length": "length",
    "tool_use": "tool_calls", "safety": "content_filter", "refusal": "content_filter",
}  # fmt: skip
"""Finish reasons of other hosts, by OpenAI's names."""
_FINISH = ("finish_reason", "done_reason", "stop_reason")


@dataclass(kw_only=True)
class Ending:
    """The parts of a stream besides its text."""

    finish: str | None = None
    usage: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    held: list[ChatGenerationChunk] = field(default_factory=list)
    """Tool calls, held back until they are complete."""

    def take(self, chunk: ChatGenerationChunk) -> str:
        """The text of a chunk; its other parts are stored."""
        message: Any = chunk.message
        if chunk.generation_info or message.response_metadata:
            told = {**message.response_metadata, **(chunk.generation_info or {})}
            if told.get(LOGPROBS):
                told[LOGPROBS] = later_logprobs(self.info.get(LOGPROBS), told[LOGPROBS])
            self.info |= told
            self.finish = finish_of(chunk) or self.finish
        usage = getattr(message, "usage_metadata", None)
        if usage:
            self.usage = later_usage(self.usage, usage)
        if getattr(message, "tool_call_chunks", None):
            self.held.append(
                ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=message.tool_call_chunks))
            )
        return message.content if isinstance(message.content, str) else str(message.text)

    def whole_calls(self) -> list[ChatGenerationChunk]:
        """The chunks of tool calls.

        Raises:
            ProviderError: The arguments of a call are not JSON, although the answer was not cut off at its limit.
        """
        if self.finish != "length" and not self._calls_are_whole():
            raise ProviderError("malformed", BROKEN_CALL)
        return self.held

    def _calls_are_whole(self) -> bool:
        arguments: dict[Any, str] = {}
        for chunk in self.held:
            for part in getattr(chunk.message, "tool_call_chunks", ()):
                call = part["index"] if part["index"] is not None else object()  # without an index, a call of its own
                arguments[call] = arguments.get(call, "") + (part["args"] or "")
        return all(_is_json(text) for text in arguments.values())


def _is_json(text: str) -> bool:
    try:
        return not text.strip() or isinstance(json.loads(text), dict)
    except ValueError:
        return False


async def gathered(parts: AsyncGenerator[str | ChatGenerationChunk], end: Ending) -> ChatGeneration:
    """A stream as a complete answer.

    Args:
        parts: Its texts, and chunks of reasoning.
        end: Gets everything else while the parts are read.

    Raises:
        ProviderError: The arguments of a tool call are not JSON.
    """
    text, thinking = [], []
    async with aclosing(parts) as stream:
        async for part in stream:
            if isinstance(part, str):
                text.append(part)
            else:
                thinking.append(thinking_in(part.message))
    said = {THINKING: "".join(thinking)} if thinking else {}
    message = AIMessageChunk(content="".join(text), additional_kwargs=said, usage_metadata=end.usage)
    for chunk in end.whole_calls():
        message += chunk.message  # type: ignore[assignment]
    return ChatGeneration(message=message_chunk_to_message(message), generation_info=end.info)


def refuses_to_stream(error: ProviderError) -> bool:
    """Whether a host answers this account, but not as a stream: OpenAI wants its organizations verified for that."""
    return error.status == 400 and "stream" in error.said.lower()


def later_logprobs(before: Any, now: Any) -> Any:
    """The log-probabilities after another chunk: the lists of tokens are concatenated."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return now
    return {**before, **{key: [*(before.get(key) or []), *(value or [])] for key, value in now.items()}}


def later_usage(before: Any, now: Any) -> Any:
    """The usage after another chunk. Hosts repeat the totals so far, or send each number once; nothing is added."""
    if not before:
        return now
    tokens = {key: max(int(before[key]), int(now.get(key) or 0)) for key in ("input_tokens", "output_tokens")}
    total = max(int(before["total_tokens"]), int(now.get("total_tokens") or 0), sum(tokens.values()))
    return {**before, **now, **tokens, "total_tokens": total}


def thinking_in(message: Any) -> str:
    """The reasoning in a message or chunk."""
    return str(message.additional_kwargs.get(THINKING) or "")


def finish_of(generation: ChatGeneration) -> str | None:
    """The host's finish reason; None: it gave none."""
    for facts in (generation.generation_info or {}, generation.message.response_metadata):
        for key in _FINISH:
            if facts.get(key):
                said = str(facts[key])
                return _REASONS.get(said.lower(), said)
    return None


def cost_of(generation: ChatGeneration) -> object:
    """The cost in US dollars, if the host reports it."""
    return (generation.generation_info or {}).get("cost", generation.message.response_metadata.get("cost"))


def has_content(message: Any) -> bool:
    """Whether there is text or a tool call."""
    return bool(str(message.text).strip() or message.tool_calls or message.invalid_tool_calls)


def refuse_broken_calls(generation: ChatGeneration) -> None:
    """Raise for tool calls whose arguments are not JSON, unless the answer was cut off at its limit."""
    if getattr(generation.message, "invalid_tool_calls", None) and finish_of(generation) != "length":
        raise ProviderError("malformed", BROKEN_CALL)


def check_ending(finish: str | None, content: bool) -> None:
    """Raise for an answer that is cut, failed, filtered or empty."""
    if finish is None:
        raise ProviderError("cut", "the answer ended without a finish_reason")
    if finish == "error":
        raise ProviderError("failed", "finish_reason is 'error'")
    if finish == "content_filter":
        raise ProviderError("filtered", "finish_reason is 'content_filter'")
    if not content:
        raise ProviderError("empty", f"the answer is empty (finish_reason {finish!r})")
