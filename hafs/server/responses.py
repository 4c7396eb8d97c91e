"""OpenAI's /v1/responses: text, images, functions and reasoning, complete or streamed. Responses are not stored."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hafs.council.chat_model import MODEL
from hafs.providers.parse import THINKING
from hafs.server.api_error import ApiError
from hafs.server.asked import Asked, read, translated
from hafs.server.blocks import Block, Blocks, Change, blocks_of
from hafs.server.dialect import Conclusion, Dialect, Event, Writer

STORED = ("previous_response_id", "conversation", "background", "prompt")
"""Fields that ask for something stored on OpenAI's servers."""
IGNORED = frozenset({"store", "include", "truncation", "user", "safety_identifier", "prompt_cache_key"})
_PREFIX = {"thinking": "rs", "text": "msg", "call": "fc"}


class ResponsesRequest(BaseModel):
    """A request; unknown fields are parameters too."""

    model_config = ConfigDict(extra="allow")

    input: str | Annotated[list[dict[str, Any]], Field(min_length=1)]
    model: str = MODEL
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class Responses(Dialect):
    """OpenAI's newer API."""

    def question(self, body: bytes) -> tuple[Asked, Writer]:
        """The request as one to chat completions.

        Raises:
            ApiError: 400, it asks for something that is stored, or for a tool of OpenAI's own servers.
        """
        asked = read(ResponsesRequest, body)
        extra = {name: value for name, value in (asked.model_extra or {}).items() if name not in IGNORED}
        for name in STORED:
            if extra.pop(name, None):
                raise ApiError(400, f"{name}: responses are not stored; send the whole conversation", param=name)
        system = [{"role": "system", "content": asked.instructions}] if asked.instructions else []
        said = asked.input
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else list(_messages(said))
        question = translated(
            **{**extra, "model": asked.model, "stream": asked.stream},
            messages=[*system, *messages],
            max_tokens=asked.max_output_tokens,
            tools=[_tool(tool) for tool in asked.tools] if asked.tools else None,
            tool_choice=_choice(asked.tool_choice),
            response_format=_format((asked.text or {}).get("format")),
            reasoning_effort=(asked.reasoning or {}).get("effort"),
        )
        return question, ResponsesWriter(asked=asked)


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise ApiError(400, f"tools: {tool.get('type')!r} is a tool of OpenAI's own servers", param="tools")
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if told and told.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": {key: value for key, value in told.items() if key != "type"}}
    return dict(told) if told else None


def _messages(items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The conversation in the form of chat completions: calls and reasoning belong to the assistant's message."""
    pending: dict[str, Any] = {}
    for item in items:
        kind = item.get("type") or "message"
        if kind == "reasoning":
            parts = item.get("content") or item.get("summary") or []
            pending[THINKING] = pending.get(THINKING, "") + "".join(part.get("text") or "" for part in parts)
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            pending.setdefault("tool_calls", []).append(call)
        elif kind == "message" and item.get("role") == "assistant":
            pending["content"] = pending.get("content", "") + _text(item.get("content"))
        elif kind in ("message", "function_call_output"):
            if pending:
                yield {"role": "assistant", **pending}
                pending = {}
            yield _result(item) if kind == "function_call_output" else _message(item)
        else:
            raise ApiError(400, f"input: there is no item of type {kind!r}", param="input")
    if pending:
        yield {"role": "assistant", **pending}


def _result(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": _text(item.get("output"))}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in content or [])


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    content = item.get("content")
    if isinstance(content, list):
        content = [_content(part) for part in content]
    return {"role": item.get("role"), "content": content}


def _content(part: Mapping[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part["text"]}
        case "input_image":
            return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
        case other:
            raise ApiError(400, f"input: there is no content of type {other!r}", param="input")


@dataclass(kw_only=True)
class ResponsesWriter(Writer):
    """Formats a response or its events."""

    asked: ResponsesRequest
    id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    blocks: Blocks = field(default_factory=Blocks)
    _count: int = 0

    def whole(self, message: Any, end: Conclusion) -> dict[str, Any]:
        """A response with its items."""
        return self._ended(blocks_of(message), end)

    def begin(self) -> Iterable[Event]:
        """`response.created` and `response.in_progress`."""
        body = self._response("in_progress", [], None)
        yield self._event("response.created", response=body)
        yield self._event("response.in_progress", response=body)

    def part(self, message: Any) -> Iterable[Event]:
        """The events of the items."""
        for change in self.blocks.take(message):
            yield from self._events(change)

    def end(self, end: Conclusion) -> Iterable[Event]:
        """`response.completed`, or `response.incomplete`."""
        for change in self.blocks.close():
            yield from self._events(change)
        body = self._ended(self.blocks.all, end)
        yield self._event(f"response.{body['status']}", response=body)

    def broken(self, error: ApiError) -> Iterable[Event]:
        """The event `error`."""
        told = error.body["error"]
        yield self._event("error", code=told["code"], message=error.message, param=told["param"])

    def _event(self, name: str, /, **facts: Any) -> Event:
        self._count += 1
        return Event({"type": name, "sequence_number": self._count - 1, **facts}, name)

    def _events(self, change: Change) -> Iterator[Event]:
        block = change.block
        place = {"output_index": block.number}
        inside = place | {"item_id": self._item_id(block)} | ({} if block.kind == "call" else {"content_index": 0})
        kind = {"thinking": "reasoning_text", "text": "output_text", "call": "function_call_arguments"}[block.kind]
        more = {"logprobs": []} if block.kind == "text" else {}
        match change.what:
            case "open":
                yield self._event("response.output_item.added", **place, item=self._item(block, "in_progress"))
                if block.kind == "text":
                    yield self._event("response.content_part.added", **inside, part=_part(block))
            case "more":
                yield self._event(f"response.{kind}.delta", **inside, delta=change.text, **more)
            case "close":
                key = "arguments" if block.kind == "call" else "text"
                named = {"name": block.name} if block.kind == "call" else {}
                yield self._event(f"response.{kind}.done", **inside, **{key: block.text}, **named, **more)
                if block.kind == "text":
                    yield self._event("response.content_part.done", **inside, part=_part(block))
                yield self._event("response.output_item.done", **place, item=self._item(block, "completed"))

    def _item_id(self, block: Block) -> str:
        return f"{_PREFIX[block.kind]}_{self.id[5:25]}{block.number}"

    def _item(self, block: Block, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self._item_id(block), "status": status}
        done = status == "completed"
        match block.kind:
            case "thinking":
                parts = [{"type": "reasoning_text", "text": block.text}] if done else []
                return item | {"type": "reasoning", "summary": [], "content": parts}
            case "text":
                return item | {"type": "message", "role": "assistant", "content": [_part(block)] if done else []}
            case _:
                call = {"call_id": block.call_id, "name": block.name, "arguments": block.text}
                return item | {"type": "function_call"} | call

    def _ended(self, blocks: list[Block], end: Conclusion) -> dict[str, Any]:
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(end.finish)
        items = [self._item(block, "completed") for block in blocks]
        body = self._response("incomplete" if cut else "completed", items, _usage(end.usage))
        return body | {"incomplete_details": {"reason": cut} if cut else None, "receipt": end.receipt}

    def _response(self, status: str, output: list[Any], usage: Any) -> dict[str, Any]:
        asked, extra = self.asked, self.asked.model_extra or {}
        return {
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "error": None,
            "incomplete_details": None, "instructions": asked.instructions, "model": asked.model, "output": output,
            "max_output_tokens": asked.max_output_tokens, "metadata": extra.get("metadata") or {},
            "parallel_tool_calls": extra.get("parallel_tool_calls", True), "previous_response_id": None,
            "reasoning": asked.reasoning or {"effort": None, "summary": None}, "store": False,
            "temperature": extra.get("temperature"), "text": asked.text or {"format": {"type": "text"}},
            "tool_choice": asked.tool_choice or "auto", "tools": asked.tools or [], "top_p": extra.get("top_p"),
            "truncation": "disabled", "usage": usage,
        }  # fmt: skip


def _part(block: Block) -> dict[str, Any]:
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not usage:
        return None
    return {
        "input_tokens": usage["input_tokens"],
        "input_tokens_details": {"cached_tokens": (usage.get("input_token_details") or {}).get("cache_read") or 0},
        "output_tokens": usage["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": (usage.get("output_token_details") or {}).get("reasoning") or 0},
        "total_tokens": usage["total_tokens"],
    }
