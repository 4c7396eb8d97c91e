"""What counts as an answer: how it ended, what it cost, and what only looks like one."""

from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from hafs.providers.provider_error import Refused

_FINISH = ("finish_reason", "done_reason", "stop_reason")


@dataclass(kw_only=True)
class Ending:
    """What a stream says besides its text."""

    finish: str | None = None
    usage: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    held: list[ChatGenerationChunk] = field(default_factory=list)
    """Calls of tools, kept until it is sure that they are whole."""

    def take(self, chunk: ChatGenerationChunk) -> str:
        """The text of a chunk; the rest of it is kept."""
        message: Any = chunk.message
        if chunk.generation_info or message.response_metadata:
            self.info |= {**message.response_metadata, **(chunk.generation_info or {})}
            self.finish = finish_of(chunk) or self.finish
        usage = getattr(message, "usage_metadata", None)
        if usage:
            self.usage = add_usage(self.usage, usage)
        if getattr(message, "tool_call_chunks", None):
            self.held.append(
                ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=message.tool_call_chunks))
            )
        return message.content if isinstance(message.content, str) else str(message.text)


def finish_of(generation: ChatGeneration) -> str | None:
    """Why the answer ended, in the host's word; None: it does not say."""
    for facts in (generation.generation_info or {}, generation.message.response_metadata):
        for key in _FINISH:
            if facts.get(key):
                return str(facts[key])
    return None


def cost_of(generation: ChatGeneration) -> object:
    """In US dollars, where the host says so."""
    return (generation.generation_info or {}).get("cost", generation.message.response_metadata.get("cost"))


def has_content(message: Any) -> bool:
    """Whether anything was said or called."""
    return bool(str(message.text).strip() or message.tool_calls or message.invalid_tool_calls)


def hold_against_the_rules(finish: str | None, content: bool) -> None:
    """Refuse what only looks like an answer."""
    if finish is None:
        raise Refused("cut", "it ended without a finish_reason")
    if finish == "error":
        raise Refused("failed", "finish_reason is 'error'")
    if finish == "content_filter":
        raise Refused("filtered", "finish_reason is 'content_filter'")
    if not content:
        raise Refused("empty", f"nothing in it (finish_reason {finish!r})")
