"""Parses OpenAI chat completions into LangChain's messages and chunks."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGenerationChunk

from hafs.providers.provider_error import ProviderError
from hafs.providers.tool_call_numbers import ToolCallNumbers

THINKING = "reasoning_content"
LARGEST_ERROR_BYTES = 65_536
LARGEST_ANSWER_BYTES = 64 * 2**20


async def body_of(response: aiohttp.ClientResponse, most: int = LARGEST_ERROR_BYTES) -> bytes:
    """The body, up to a size in bytes."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            break
    return b"".join(parts)[:most]


def parsed(raw: bytes) -> object:
    """The parsed JSON, or the text if it is not JSON."""
    try:
        return orjson.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


def object_of(raw: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ProviderError: The body is not a JSON object.
    """
    answer = parsed(raw)
    if not isinstance(answer, dict):
        kind = "a web page" if raw.lstrip()[:1] == b"<" else f"{len(raw)} bytes"
        raise ProviderError("malformed", f"expected a JSON object, got {kind}")
    return answer


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The objects of a server-sent event stream, up to `[DONE]` or its end.

    Comments, empty data and other fields are skipped. The data of one event may be spread over several lines.
    """
    if "json" in response.headers.get("content-type", ""):  # an error, or a host that does not stream
        yield object_of(await body_of(response, LARGEST_ANSWER_BYTES))
        return
    seen, pending = False, b""
    async for line in _lines(response):
        if line.startswith(b"data:") and (data := line[5:].strip()):
            if data == b"[DONE]":
                return
            seen, pending = True, pending + data + b"\n"
            if isinstance(event := parsed(pending), dict):
                pending = b""
                yield event
        elif line.startswith(b"<") and not seen:
            raise ProviderError("malformed", "a web page instead of a stream")
        elif pending and not line:  # the event ends and is not an object
            yield object_of(pending)
    if pending:
        yield object_of(pending)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a body, without their ends. They are split here: reading them one by one costs an await each."""
    rest = b""
    async for part in response.content.iter_any():
        rest += part
        held = rest[-1:] if rest.endswith(b"\r") else b""  # may be half of a CRLF
        rest = rest.removesuffix(held)
        if len(rest) > LARGEST_ANSWER_BYTES:
            raise ProviderError("malformed", f"a line of a stream is longer than {LARGEST_ANSWER_BYTES} bytes")
        *lines, rest = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += held
        for line in lines:
            yield line
    if rest:
        yield rest


def chunk_of(event: Mapping[str, Any], numbers: ToolCallNumbers | None = None) -> ChatGenerationChunk | None:
    """The chunk of one event; None: it says nothing.

    Args:
        event: Of the stream.
        numbers: The tool calls of the stream so far.
    """
    numbers = numbers or ToolCallNumbers()
    choices, usage = event.get("choices") or [], usage_of(event.get("usage"))
    if not choices:
        if usage is None:
            return None
        info = {"cost": event["usage"]["cost"]} if "cost" in event["usage"] else None
        return ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage), generation_info=info)
    choice = choices[0]
    delta = choice.get("delta") or choice.get("message") or {}
    calls = []
    for call in delta.get("tool_calls") or []:
        index, begun = numbers.of(call)
        function = call.get("function") or {}
        name = function.get("name") or None
        calls.append(tool_call_chunk(name=name, args=arguments_of(function), id=begun, index=index))
    message = AIMessageChunk(
        content=_text(delta.get("content")) or str(delta.get("refusal") or ""),
        additional_kwargs=thinking_of(delta),
        tool_call_chunks=calls,
        usage_metadata=usage,
    )
    ends = choice.get("finish_reason") or choice.get("logprobs")
    return ChatGenerationChunk(message=message, generation_info=info_of(event, choice) if ends else None)


def arguments_of(function: Mapping[str, Any]) -> str | None:
    """The arguments of a tool call as text; some hosts send the object itself."""
    given = function.get("arguments")
    return given if isinstance(given, str | None) else orjson.dumps(given).decode()


def message_of(told: Mapping[str, Any], usage: UsageMetadata | None) -> AIMessage:
    """The message of a complete answer; unparsable tool calls become invalid_tool_calls."""
    calls, broken = [], []
    for call in told.get("tool_calls") or []:
        try:
            calls.append(parse_tool_call(call, return_id=True))
        except Exception as error:
            broken.append(make_invalid_tool_call(call, str(error)))
    extra = thinking_of(told) | ({"refusal": told["refusal"]} if told.get("refusal") else {})
    return AIMessage(
        content=_text(told.get("content")) or str(told.get("refusal") or ""),
        additional_kwargs=extra,
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=usage,
    )


def thinking_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """The reasoning of a message or delta, under the name that LangChain uses."""
    thinking = told.get("reasoning_content") or told.get("reasoning")
    return {THINKING: thinking} if isinstance(thinking, str) and thinking else {}


def _text(content: object) -> str:
    """The text of a string or of content parts; null is empty."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def info_of(answer: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Finish reason, model and cost."""
    info: dict[str, Any] = {"finish_reason": choice.get("finish_reason")}
    usage = answer.get("usage")
    if isinstance(usage, Mapping) and "cost" in usage:
        info["cost"] = usage["cost"]
    for key in ("id", "system_fingerprint", "provider"):
        if answer.get(key):
            info[f"host_{key}"] = answer[key]
    if answer.get("model"):
        info["answered_by"] = answer["model"]
    if choice.get("logprobs"):
        info["logprobs"] = choice["logprobs"]
    return info


def usage_of(told: object) -> UsageMetadata | None:
    """Input and output tokens, if the host reports them."""
    if not isinstance(told, Mapping):
        return None
    into, out = int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or 0)
    usage = UsageMetadata(
        input_tokens=into, output_tokens=out, total_tokens=int(told.get("total_tokens") or into + out)
    )
    if cached := _detail(told, "prompt_tokens_details", "cached_tokens"):
        usage["input_token_details"] = InputTokenDetails(cache_read=cached)
    if thought := _detail(told, "completion_tokens_details", "reasoning_tokens"):
        usage["output_token_details"] = OutputTokenDetails(reasoning=thought)
    return usage


def _detail(told: Mapping[str, Any], details: str, name: str) -> int:
    found = told.get(details)
    return int(found.get(name) or 0) if isinstance(found, Mapping) else 0
