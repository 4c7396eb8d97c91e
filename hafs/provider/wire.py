"""OpenAI's chat completions over HTTP: one call a request, nothing retried, nothing followed, nothing smoothed over.

The response is read raw, because what a client library smooths over is what failover must see: an error inside HTTP
200, null content, a stream that ends without `finish_reason`.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import orjson
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from hafs.loopback import stays_here
from hafs.provider import loops
from hafs.provider.classify import from_error, from_status
from hafs.provider.refusal import Refused

LARGEST_ERROR_BYTES = 65_536
LARGEST_ANSWER_BYTES = 64 * 2**20
CONNECT_SECONDS = 10.0
LONGEST_LINE_BYTES = 2**20
_SESSIONS: dict[asyncio.AbstractEventLoop, dict[bool, aiohttp.ClientSession]] = {}
_KEEPERS: dict[asyncio.AbstractEventLoop, AsyncIterator[None]] = {}


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an address; never one for loopback."""
    parts = urlsplit(url)
    if stays_here(url) or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


async def session(url: str) -> aiohttp.ClientSession:
    """The running loop's session for an address; it is closed when the loop shuts down.

    Time is kept by the policy, so the session has no timeout but the one of connecting.
    """
    loop, near = asyncio.get_running_loop(), stays_here(url)
    sessions = _SESSIONS.get(loop)
    if sessions is None:
        _forget_closed_loops()
        sessions = _SESSIONS[loop] = {}
        _KEEPERS[loop] = _closing_with(loop)
        await anext(_KEEPERS[loop])
    if near not in sessions:
        sessions[near] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=True if near else httpx.create_ssl_context()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=LONGEST_LINE_BYTES,
            trust_env=False,  # it would read ~/.netrc for every request; proxies are looked up here
        )
    return sessions[near]


async def _closing_with(loop: asyncio.AbstractEventLoop) -> AsyncIterator[None]:
    """Suspended until the loop shuts its async generators down, as `asyncio.run` does before it closes the loop."""
    try:
        yield
    finally:
        _KEEPERS.pop(loop, None)
        for kept in _SESSIONS.pop(loop, {}).values():
            await kept.close()


def _forget_closed_loops() -> None:
    for loop in [loop for loop in _SESSIONS if loop.is_closed()]:
        _SESSIONS.pop(loop, None)
        _KEEPERS.pop(loop, None)


class Wire(BaseChatModel):
    """A model of a host with OpenAI's chat completions."""

    base_url: str
    model: str
    account: str
    api_key_env: str | None
    headers: dict[str, str]
    body: dict[str, Any]
    """Sent along with every request."""
    parameters: dict[str, Any]

    @property
    def _llm_type(self) -> str:
        return "hafs-wire"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model, "base_url": self.base_url, **self.parameters}

    def _key(self) -> str | None:
        return os.environ.get(self.api_key_env) if self.api_key_env else None

    def _asked(self, messages: Sequence[BaseMessage], stop: list[str] | None, words: Mapping[str, Any]) -> bytes:
        asked = {
            "model": self.model,
            "messages": convert_to_openai_messages(messages),
            **self.parameters,
            **words,
            **self.body,
        }
        if stop:
            asked["stop"] = stop
        return orjson.dumps(asked)

    def _headers(self) -> dict[str, str]:
        key = self._key()
        headers = {"content-type": "application/json", **self.headers}
        return {**headers, "authorization": f"Bearer {key}"} if key else headers

    async def _send(self, content: bytes) -> aiohttp.ClientResponse:
        """The response, its head read; a refusal when the head is one.

        Redirects are not followed, so that a key stays with the host it was given for.
        """
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        http = await session(url)
        response = await http.post(
            url, data=content, headers=self._headers(), allow_redirects=False, proxy=proxy_of(url)
        )
        if response.status == 200:
            return response
        try:
            raise self._refusal(response.status, await _some(response), response.headers)
        finally:
            response.close()

    def _refusal(self, status: int, raw: bytes, headers: Mapping[str, str]) -> Refused:
        if 300 <= status < 400:
            host = urlsplit(headers.get("location", "")).hostname or "elsewhere"
            return Refused("rejected", f"{status} redirect to {host}, which is not followed", status=status)
        return from_status(status, _parsed(raw), headers, self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        return (self._key() or "",)

    def _error_within(self, answer: Mapping[str, Any]) -> Refused | None:
        """The refusal inside an HTTP 200, if there is one."""
        error = answer.get("error")
        if not error:
            error = next(
                (c.get("error") for c in answer.get("choices") or [] if isinstance(c, dict) and c.get("error")), 0
            )
        if not error:
            return None
        code = error.get("code") if isinstance(error, Mapping) else None
        try:
            status = int(code)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            status = 429 if re.search(r"rate|quota|credit", str(error), re.I) else 500
        return from_status(status if status >= 400 else 500, {"error": error}, {}, self._secrets())

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        try:
            response = await self._send(self._asked(messages, stop, kwargs))
            try:
                raw = await _some(response, LARGEST_ANSWER_BYTES)
            finally:
                response.release()
        except Exception as error:
            raise from_error(error, self._secrets()) from error
        return self._read(_object(raw))

    def _read(self, answer: dict[str, Any]) -> ChatResult:
        if refusal := self._error_within(answer):
            raise refusal
        try:
            choice = answer["choices"][0]
            message = _message(choice["message"], _usage(answer.get("usage")))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Refused("malformed", f"an answer without choices: {', '.join(answer) or 'nothing in it'}") from error
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=_info(answer, choice))])

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = {"stream": True, "stream_options": {"include_usage": True}, **kwargs}
        began = False
        try:
            response = await self._send(self._asked(messages, stop, asked))
            try:
                async for event in _events(response):
                    if refusal := self._error_within(event):
                        raise refusal
                    began = True
                    if (chunk := _chunk(event)) is not None:
                        yield chunk
            finally:
                response.release()
        except Exception as error:
            refusal = from_error(error, self._secrets())
            if began and refusal.kind == "unreachable":
                refusal = Refused("cut", f"the connection broke: {refusal.said}")
            raise refusal from error

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return loops.run(self._agenerate(messages, stop, **kwargs))


async def _some(response: aiohttp.ClientResponse, most: int = LARGEST_ERROR_BYTES) -> bytes:
    """A body up to a size."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            break
    return b"".join(parts)[:most]


def _parsed(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


def _object(raw: bytes) -> dict[str, Any]:
    answer = _parsed(raw)
    if not isinstance(answer, dict):
        kind = "a web page" if raw.lstrip()[:1] == b"<" else f"{len(raw)} bytes"
        raise Refused("malformed", f"no JSON object but {kind}")
    return answer


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The objects of a server-sent event stream, up to `[DONE]` or its end."""
    if "json" in response.headers.get("content-type", ""):  # an error, or a host that does not stream
        yield _object(await _some(response, LARGEST_ANSWER_BYTES))
        return
    seen = False
    async for line in response.content:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            seen = True
            yield _object(data)
        elif line.startswith(b"<") and not seen:
            raise Refused("malformed", "a web page instead of a stream")


def _chunk(event: Mapping[str, Any]) -> ChatGenerationChunk | None:
    choices, usage = event.get("choices") or [], _usage(event.get("usage"))
    if not choices:
        if usage is None:
            return None
        info = {"cost": event["usage"]["cost"]} if "cost" in event["usage"] else None
        return ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage), generation_info=info)
    choice = choices[0]
    delta = choice.get("delta") or choice.get("message") or {}
    calls = [
        tool_call_chunk(
            name=(call.get("function") or {}).get("name"),
            args=(call.get("function") or {}).get("arguments"),
            id=call.get("id"),
            index=call.get("index", place),
        )
        for place, call in enumerate(delta.get("tool_calls") or [])
    ]
    message = AIMessageChunk(content=_text(delta.get("content")), tool_call_chunks=calls, usage_metadata=usage)
    return ChatGenerationChunk(
        message=message, generation_info=_info(event, choice) if choice.get("finish_reason") else None
    )


def _message(told: Mapping[str, Any], usage: UsageMetadata | None) -> AIMessage:
    calls, broken = [], []
    for call in told.get("tool_calls") or []:
        try:
            calls.append(parse_tool_call(call, return_id=True))
        except Exception as error:
            broken.append(make_invalid_tool_call(call, str(error)))
    extra = {"refusal": told["refusal"]} if told.get("refusal") else {}
    return AIMessage(
        content=_text(told.get("content")) or str(told.get("refusal") or ""),
        additional_kwargs=extra,
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=usage,
    )


def _text(content: object) -> str:
    """Text, from a string or from parts; null is nothing."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _info(answer: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
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


def _usage(told: object) -> UsageMetadata | None:
    if not isinstance(told, Mapping):
        return None
    into, out = int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or 0)
    return UsageMetadata(input_tokens=into, output_tokens=out, total_tokens=int(told.get("total_tokens") or into + out))
