"""OpenAI's JSON schema: requests, the list of models, completions, chunks, usage and errors."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi.responses import JSONResponse
from langchain_core.messages import BaseMessage, convert_to_messages
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hafs.council.chat_model import MODEL, Council
from hafs.providers.parameters import FURTHER
from hafs.providers.parse import THINKING

OF_THE_REQUEST = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "stop", "max_tokens", "max_completion_tokens"}
)
"""Fields of a request that are not parameters of the answer. All others are forwarded to the provider; the receipt
lists those that it does not take."""
OF_LANGCHAIN = frozenset({"input", "config", "callbacks", "tags", "metadata", "run_name", "run_id", "run_manager"})
"""Parameters whose names LangChain's own methods use."""


LONGEST_CLIENT_WAIT = 60
"""The longest Retry-After that OpenAI's clients respect, in seconds; above it they choose their own delay."""


class Refusal(Exception):
    """An error response in OpenAI's schema."""

    def __init__(
        self, status: int, message: str, *, kind: str = "invalid_request_error", param: str | None = None,
        code: str | None = None, retry_after: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> JSONResponse:
        """The HTTP response."""
        headers = {"x-hafs": "refused"} | ({"retry-after": str(self.retry_after)} if self.retry_after else {})
        if self.retry_after and self.retry_after > LONGEST_CLIENT_WAIT:
            headers["x-should-retry"] = "false"  # OpenAI's clients would retry within seconds
        return JSONResponse(self.body, status_code=self.status, headers=headers)


class StreamOptions(BaseModel):
    """`stream_options` of a request."""

    include_usage: bool = False


class Asked(BaseModel):
    """A request to /v1/chat/completions; unknown fields are parameters too."""

    model_config = ConfigDict(extra="allow")

    model: str = MODEL
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the answer, as LangChain's models take them."""
        given = {name: value for name, value in self.model_dump().items() if name not in OF_THE_REQUEST}
        given = {name: value for name, value in given.items() if value is not None}
        further = {name: value for name, value in given.items() if name in OF_LANGCHAIN}
        given = {name: value for name, value in given.items() if name not in OF_LANGCHAIN}
        limit = self.max_completion_tokens or self.max_tokens
        return given | ({"max_tokens": limit} if limit else {}) | ({FURTHER: further} if further else {})

    @property
    def stops(self) -> list[str] | None:
        """`stop` as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    def conversation(self) -> list[BaseMessage]:
        """The messages as LangChain's.

        Raises:
            Refusal: One of them is not a message, or the question is empty.
        """
        try:
            messages = convert_to_messages([_plain(message) for message in self.messages])
        except (ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise Refusal(400, f"messages: {str(error).splitlines()[0]}", param="messages") from error
        if not any(_says_something(message) for message in messages):
            raise Refusal(400, "messages: the question is empty", param="messages")
        return messages


def _says_something(message: BaseMessage) -> bool:
    """Whether a message can be answered: it has text, or a part that is not text, such as an image."""
    if isinstance(message.content, list) and any(
        isinstance(part, dict) and part.get("type") not in ("text", None) for part in message.content
    ):
        return True
    return message.type in ("human", "tool", "system") and bool(str(message.text).strip())


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without nulls; the role `developer` becomes `system`."""
    kept = {key: value for key, value in message.items() if value is not None}
    if kept.get("role") == "developer":
        kept["role"] = "system"
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [_with_arguments(call) for call in calls]
    return {"content": ""} | kept


def _with_arguments(call: Any) -> Any:
    """A tool call whose empty arguments are an empty object, as OpenAI's clients send them back."""
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict) and not str(function.get("arguments") or "").strip():
        return {**call, "function": {**function, "arguments": "{}"}}
    return call


def asked(body: bytes) -> Asked:
    """Parse a request body.

    Raises:
        Refusal: 400, the body does not fit the schema; the message names the first error.
    """
    try:
        return Asked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or None
        raise Refusal(400, f"{where or 'the body'}: {first['msg']}", param=where) from error


def model_list(council: Council) -> dict[str, Any]:
    """The answer of /v1/models: the council, then each expert."""
    names = [MODEL, *(expert.model for expert in council.panel.experts.values())]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "hafs"} for name in names],
    }


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


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Builds the completion or the chunks of one answer, which share an id."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, message: Any, usage: Any, finish: str, receipt: Mapping[str, Any]) -> dict[str, Any]:
        """A `chat.completion`."""
        said = {"role": "assistant", "content": str(message.text) or None} | _calls(message.tool_calls)
        said |= _thinking(message)
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion") | {"choices": [choice], "usage": usage_of(usage), "receipt": receipt}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        """A `chat.completion.chunk`."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]} | more

    def usage(self, usage: Any) -> dict[str, Any]:
        """The chunk that holds the usage only."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": usage_of(usage)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def _calls(tool_calls: Any) -> dict[str, Any]:
    from json import dumps

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


def answered_by(receipt: Mapping[str, Any]) -> str:
    """The models that answered: `expert=provider/model`, separated by commas."""
    parts = [*receipt.get("experts", []), *([receipt["synthesizer"]] if receipt.get("synthesizer") else [])]
    named = [
        f"{part['name']}={attempt['provider']}/{attempt['model']}"
        for part in parts
        for attempt in part["attempts"]
        if attempt["outcome"] == "answered"
    ]
    return ",".join(named)


def finish_of(metadata: Mapping[str, Any], *, called: bool) -> str:
    """The finish reason in OpenAI's schema."""
    if called:
        return "tool_calls"
    said = str(metadata.get("finish_reason") or "stop")
    return said if said in ("stop", "length", "tool_calls", "content_filter") else "stop"


def public(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The receipt without paths on the server."""
    return {key: value for key, value in metadata.get("receipt", {}).items() if key != "file"}
