"""OpenAI's /v1/chat/completions, and its older /v1/completions."""

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hafs.council.chat_model import MODEL
from hafs.providers.parse import THINKING
from hafs.server.api_error import ApiError
from hafs.server.asked import Asked, StreamOptions, read, translated
from hafs.server.dialect import Conclusion, Dialect, Event, Writer


def usage_of(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Usage in OpenAI's schema; None if the tokens were not counted."""
    if not usage:
        return None
    told: dict[str, Any] = {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }
    if (cached := (usage.get("input_token_details") or {}).get("cache_read")) is not None:
        told["prompt_tokens_details"] = {"cached_tokens": cached}
    if (thought := (usage.get("output_token_details") or {}).get("reasoning")) is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": thought}
    return told


class ChatCompletions(Dialect):
    """The API that the others are translated into."""

    def question(self, body: bytes) -> tuple[Asked, Writer]:
        """The request without changes."""
        question = read(Asked, body)
        usage = bool(question.stream_options and question.stream_options.include_usage)
        return question, ChatWriter(model=question.model, usage=usage)


@dataclass(frozen=True, kw_only=True)
class ChatWriter(Writer):
    """Formats the completion or the chunks of one answer, which share an id."""

    model: str
    usage: bool
    """Whether a stream ends with its usage."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, message: Any, end: Conclusion) -> dict[str, Any]:
        """A `chat.completion`."""
        said = {"role": "assistant", "content": str(message.text) or None} | _calls(message.tool_calls)
        said |= _thinking(message)
        choice = {"index": 0, "message": said, "logprobs": end.logprobs, "finish_reason": end.finish}
        return self._head("chat.completion") | {
            "choices": [choice], "usage": usage_of(end.usage), "receipt": end.receipt,
        }  # fmt: skip

    def begin(self) -> Iterable[Event]:
        """The chunk that names the role."""
        yield Event(self._chunk({"role": "assistant", "content": ""}))

    def part(self, message: Any) -> Iterable[Event]:
        """A chunk, if there is anything in it."""
        if delta := delta_of(message):
            yield Event(self._chunk(delta))

    def end(self, end: Conclusion) -> Iterable[Event]:
        """The finish reason and the receipt, then the usage if it was asked for."""
        last = self._chunk({}, end.finish, end.logprobs) | {"receipt": end.receipt}
        yield Event(last)
        if self.usage:
            yield Event(self._head("chat.completion.chunk") | {"choices": [], "usage": usage_of(end.usage)})
        yield Event("[DONE]")

    def broken(self, error: ApiError) -> Iterable[Event]:
        """The error instead of the end."""
        yield Event(error.body)

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def _calls(tool_calls: Any) -> dict[str, Any]:
    calls = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": dumps(call["args"])}}
        for call in tool_calls
    ]
    return {"tool_calls": calls} if calls else {}


def _thinking(message: Any) -> dict[str, Any]:
    thinking = message.additional_kwargs.get(THINKING)
    return {THINKING: thinking} if thinking else {}


def delta_of(message: Any) -> dict[str, Any]:
    """The delta of a chunk."""
    calls = [
        {"index": part["index"] or 0, "id": part["id"], "type": "function",
         "function": {"name": part["name"], "arguments": part["args"] or ""}}
        for part in getattr(message, "tool_call_chunks", [])
    ]  # fmt: skip
    text = str(message.text)
    return _thinking(message) | ({"content": text} if text else {}) | ({"tool_calls": calls} if calls else {})


class Prompted(BaseModel):
    """A request to /v1/completions; unknown fields are parameters too."""

    model_config = ConfigDict(extra="allow")

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    model: str = MODEL
    stream: bool = False
    stream_options: StreamOptions | None = None


class Completions(Dialect):
    """The prompt is a question: the council does not complete texts."""

    def question(self, body: bytes) -> tuple[Asked, Writer]:
        """The prompt as the only message."""
        prompted = read(Prompted, body)
        fields = prompted.model_dump(exclude={"prompt", "stream_options"})
        for field_name in ("suffix", "echo"):
            if fields.get(field_name):
                raise ApiError(400, f"{field_name}: the council answers questions, it does not complete texts")
        prompt = prompted.prompt if isinstance(prompted.prompt, str) else prompted.prompt[0]
        question = translated(**fields, messages=[{"role": "user", "content": prompt}])
        usage = bool(prompted.stream_options and prompted.stream_options.include_usage)
        return question, CompletionWriter(model=prompted.model, usage=usage, id=f"cmpl-{uuid.uuid4().hex[:24]}")


class CompletionWriter(ChatWriter):
    """Formats a `text_completion`."""

    def whole(self, message: Any, end: Conclusion) -> dict[str, Any]:
        """One choice with a text."""
        body = self._chunk({"content": str(message.text)}, end.finish)
        return body | {"usage": usage_of(end.usage), "receipt": end.receipt}

    def begin(self) -> Iterable[Event]:
        """Nothing: there is no role."""
        return ()

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": finish}
        return self._head("text_completion") | {"choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return super()._head("text_completion")
