"""What counts as an answer: finish reason, cost, and checks of incomplete ones."""

from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from hafs.providers.provider_error import ProviderError

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
    """The host's finish reason; None: it gave none."""
    for facts in (generation.generation_info or {}, generation.message.response_metadata):
        for key in _FINISH:
            if facts.get(key):
                return str(facts[key])
    return None


def cost_of(generation: ChatGeneration) -> object:
    """The cost in US dollars, if the host reports it."""
    return (generation.generation_info or {}).get("cost", generation.message.response_metadata.get("cost"))


def has_content(message: Any) -> bool:
    """Whether there is text or a tool call."""
    return bool(str(message.text).strip() or message.tool_calls or message.invalid_tool_calls)


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
