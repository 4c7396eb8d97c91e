"""Anthropic's /v1/messages: text, images, tools and thinking, complete or streamed."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hafs.providers.parse import THINKING
from hafs.server.api_error import ApiError
from hafs.server.asked import Asked, read, translated
from hafs.server.blocks import Block, Blocks, Change, blocks_of
from hafs.server.dialect import Conclusion, Dialect, Event, Writer

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 503: "overloaded_error",
}  # fmt: skip


class MessagesRequest(BaseModel):
    """A request; unknown fields are parameters too."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(gt=0)]
    system: str | list[dict[str, Any]] | None = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    stream: bool = False


class Messages(Dialect):
    """Anthropic's API."""

    def question(self, body: bytes) -> tuple[Asked, Writer]:
        """The request as one to chat completions.

        Raises:
            ApiError: 400, hafs does not support this kind of block or tool.
        """
        asked = read(MessagesRequest, body)
        system = [{"role": "system", "content": _text_of(asked.system)}] if asked.system else []
        choice = asked.tool_choice or {}
        question = translated(
            **{**(asked.model_extra or {}), "model": asked.model, "stream": asked.stream},
            messages=[*system, *(told for message in asked.messages for told in _messages(message))],
            max_tokens=asked.max_tokens,
            stop=asked.stop_sequences,
            tools=[_tool(tool) for tool in asked.tools] if asked.tools else None,
            tool_choice=_choice(choice) if choice else None,
            parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        )
        return question, MessagesWriter(model=asked.model)

    def error_body(self, error: ApiError) -> dict[str, Any]:
        """An error in Anthropic's schema."""
        kind = ERRORS.get(error.status, "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(str(part.get("text") or "") for part in content or [] if isinstance(part, dict))


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool:
        raise ApiError(400, f"tools: {tool.get('type') or tool.get('name')!r} is a tool of Anthropic's own servers")
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    return {"type": "function", "function": function | {"description": tool.get("description") or ""}}


def _choice(choice: Mapping[str, Any]) -> Any:
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return CHOICES.get(str(choice.get("type")), "auto")


def _messages(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message in OpenAI's form; results of tools are messages of their own there."""
    content, role = message.get("content"), message.get("role")
    if not isinstance(content, list):
        yield {"role": role, "content": content}
        return
    kept: dict[str, Any] = {"role": role, "content": []}
    for part in content:
        if part.get("type") == "tool_result":
            yield {"role": "tool", "tool_call_id": part["tool_use_id"], "content": _text_of(part.get("content"))}
        else:
            _add(kept, part)
    if role == "assistant":
        kept["content"] = _text_of(kept["content"])
    if kept["content"] or "tool_calls" in kept:
        yield kept


def _add(kept: dict[str, Any], part: Mapping[str, Any]) -> None:
    match part.get("type"):
        case "text":
            kept["content"].append({"type": "text", "text": part["text"]})
        case "image":
            kept["content"].append(_image(part["source"]))
        case "thinking":
            kept[THINKING] = kept.get(THINKING, "") + part["thinking"]
        case "redacted_thinking":
            pass
        case "tool_use":
            function = {"name": part["name"], "arguments": json.dumps(part.get("input") or {})}
            kept.setdefault("tool_calls", []).append({"id": part["id"], "type": "function", "function": function})
        case other:
            raise ApiError(400, f"messages: there is no content of type {other!r}", param="messages")


def _image(source: Mapping[str, Any]) -> dict[str, Any]:
    given = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": given}}


@dataclass(kw_only=True)
class MessagesWriter(Writer):
    """Formats a message or its events."""

    model: str
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex[:24]}")
    blocks: Blocks = field(default_factory=Blocks)

    def whole(self, message: Any, end: Conclusion) -> dict[str, Any]:
        """A message with its blocks."""
        content = [_filled(block) for block in blocks_of(message)]
        body = self._message(content, _usage(end.usage)) | {"stop_reason": STOP_REASONS[end.finish]}
        return body | {"receipt": end.receipt}

    def begin(self) -> Iterable[Event]:
        """`message_start`."""
        yield _named({"type": "message_start", "message": self._message([], _usage(None))})

    def part(self, message: Any) -> Iterable[Event]:
        """The events of the blocks."""
        for change in self.blocks.take(message):
            yield from _events(change)

    def end(self, end: Conclusion) -> Iterable[Event]:
        """`message_delta` with the stop reason, then `message_stop`."""
        for change in self.blocks.close():
            yield from _events(change)
        delta = {"stop_reason": STOP_REASONS[end.finish], "stop_sequence": None}
        yield _named({"type": "message_delta", "delta": delta, "usage": _usage(end.usage), "receipt": end.receipt})
        yield _named({"type": "message_stop"})

    def broken(self, error: ApiError) -> Iterable[Event]:
        """The event `error`."""
        yield _named(Messages().error_body(error))

    def _message(self, content: list[Any], usage: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip


def _named(data: dict[str, Any]) -> Event:
    return Event(data, data["type"])


def _events(change: Change) -> Iterator[Event]:
    block = change.block
    match change.what:
        case "open":
            yield _named({"type": "content_block_start", "index": block.number, "content_block": _empty(block)})
        case "more":
            key = {"thinking": "thinking", "text": "text", "call": "partial_json"}[block.kind]
            kind = {"thinking": "thinking_delta", "text": "text_delta", "call": "input_json_delta"}[block.kind]
            delta = {"type": kind, key: change.text}
            yield _named({"type": "content_block_delta", "index": block.number, "delta": delta})
        case "close":
            yield _named({"type": "content_block_stop", "index": block.number})


def _empty(block: Block) -> dict[str, Any]:
    match block.kind:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "text":
            return {"type": "text", "text": ""}
        case _:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}


def _filled(block: Block) -> dict[str, Any]:
    key, value = {
        "thinking": ("thinking", block.text),
        "text": ("text", block.text),
        "call": ("input", json.loads(block.text or "{}") if block.kind == "call" else None),
    }[block.kind]
    return _empty(block) | {key: value}


def _usage(usage: Mapping[str, Any] | None) -> dict[str, int]:
    """Usage in Anthropic's schema, where tokens that were not counted are 0."""
    told = usage or {}
    cached = (told.get("input_token_details") or {}).get("cache_read") or 0
    into = int(told.get("input_tokens") or 0)
    return {
        "input_tokens": into - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": int(told.get("output_tokens") or 0),
    }
