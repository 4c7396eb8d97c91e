"""OpenAI's chat completions over HTTP: one call per request, no retries, no redirects, errors passed on unchanged.

The response is read raw, because what a client library smooths over is what failover must see: an error inside HTTP
200, null content, a stream that ends without `finish_reason`.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import orjson
from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from hafs.providers.bridge import Bridged
from hafs.providers.classify import before_sending, from_error, from_status
from hafs.providers.parse import (
    LARGEST_ANSWER_BYTES,
    THINKING,
    body_of,
    chunk_of,
    events,
    info_of,
    message_of,
    object_of,
    parsed,
    usage_of,
)
from hafs.providers.provider_error import ProviderError
from hafs.providers.served_adapters import SERVED, remember, remembered, served_as
from hafs.providers.sessions import proxy_of, session
from hafs.providers.tool_call_numbers import ToolCallNumbers
from hafs.providers.tracing import Callbacks
from hafs.providers.watched_answer import Watch, joined

_HEADER = re.compile(r"[\x21-\x7e]+")


def _as_sent(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The messages in OpenAI's form, with the reasoning of earlier answers, which LangChain's conversion drops."""
    if not any(THINKING in message.additional_kwargs for message in messages):
        return cast(list[dict[str, Any]], convert_to_openai_messages(messages))
    sent = []
    for message in messages:
        told = cast(list[dict[str, Any]], convert_to_openai_messages([message]))
        if thinking := message.additional_kwargs.get(THINKING):
            told[0][THINKING] = thinking
        sent += told
    return sent


class OpenAIClient(Bridged):
    """A model of a host with an OpenAI-compatible API."""

    base_url: str
    model: str
    adapter: str | None = None
    """The LoRA adapter, which the host serves as a separate model."""
    account: str
    api_key_env: str | None
    headers: dict[str, str]
    body: dict[str, Any]
    """Extra body fields of every request."""
    parameters: dict[str, Any]
    watch: Watch | None = None
    """For complete answers: how long the host may be silent; None: they are asked for in one piece."""

    @property
    def _llm_type(self) -> str:
        return "hafs-openai-client"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.adapter or self.model, "base_url": self.base_url, **self.parameters}

    def _key(self) -> str | None:
        return os.environ.get(self.api_key_env) if self.api_key_env else None

    def _asked(self, messages: Sequence[BaseMessage], stop: list[str] | None, params: Mapping[str, Any]) -> bytes:
        asked = {
            "model": self._name(),
            "messages": _as_sent(messages),
            **self.parameters,
            **params,
            **self.body,
        }
        if stop:
            asked["stop"] = stop
        return orjson.dumps(asked)

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if key and not _HEADER.fullmatch(key):
            raise ProviderError("unsent", f"{self.api_key_env} contains a character that is not allowed in an API key")
        headers = {"content-type": "application/json", **self.headers}
        return {**headers, "authorization": f"Bearer {key}"} if key else headers

    async def _send(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, params: Mapping[str, Any]
    ) -> aiohttp.ClientResponse:
        """The response after its headers; raises for an HTTP error.

        Redirects are not followed, so that a key is never sent to another host.
        """
        response = await self._post(messages, stop, params)
        if response.status == 404 and self.adapter and await self._look_up():
            response.close()
            response = await self._post(messages, stop, params)
        if response.status == 200:
            return response
        try:
            raise self._http_error(response.status, await body_of(response), response.headers)
        finally:
            response.close()

    async def _post(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, params: Mapping[str, Any]
    ) -> aiohttp.ClientResponse:
        with before_sending():
            content, headers = self._asked(messages, stop, params), self._headers()
            url = f"{self.base_url.rstrip('/')}/chat/completions"
            http, proxy = await session(url), proxy_of(url)
        return await http.post(url, data=content, headers=headers, allow_redirects=False, proxy=proxy)

    def _name(self) -> str:
        """The model that the host is asked for."""
        if self.adapter is None:
            return self.model
        known, name = remembered(self.base_url, self.adapter)
        return (name or self.model) if known else self.adapter

    async def _look_up(self) -> bool:
        """Find the adapter in the host's list of models; False: the list changes nothing."""
        assert self.adapter is not None
        asked, url = self._name(), f"{self.base_url.rstrip('/')}/models"
        http, proxy = await session(url), proxy_of(url)
        async with http.get(url, headers=self._headers(), allow_redirects=False, proxy=proxy) as response:
            told = parsed(await body_of(response, LARGEST_ANSWER_BYTES)) if response.status == 200 else None
        listed = told.get("data") if isinstance(told, dict) else None
        if not isinstance(listed, list):
            return False
        offered = [str(entry["id"]) for entry in listed if isinstance(entry, dict) and "id" in entry]
        remember(self.base_url, self.adapter, served_as(self.adapter, offered))
        return self._name() != asked

    def _served(self) -> dict[str, Any]:
        """Under which name the adapter was served, if not under its own."""
        known, name = remembered(self.base_url, self.adapter) if self.adapter else (False, None)
        return {SERVED: name} if known and name != self.adapter else {}

    def _http_error(self, status: int, raw: bytes, headers: Mapping[str, str]) -> ProviderError:
        if 300 <= status < 400:
            host = urlsplit(headers.get("location", "")).hostname or "elsewhere"
            return ProviderError("rejected", f"{status} redirect to {host}, which is not followed", status=status)
        return from_status(status, parsed(raw), headers, self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        return (self._key() or "",)

    def _error_within(self, answer: Mapping[str, Any]) -> ProviderError | None:
        """The error inside an HTTP 200, if there is one."""
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

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The host's complete answer."""
        if self.watch is not None:
            began = asyncio.get_running_loop().time()
            events = self._events(messages, stop, params)
            async with aclosing(events):
                return self._read(await joined(events, self._refuse, self.watch, began))
        try:
            response = await self._send(messages, stop, params)
            try:
                raw = await body_of(response, LARGEST_ANSWER_BYTES)
            finally:
                response.release()
        except Exception as error:
            raise from_error(error, self._secrets()) from error
        return self._read(object_of(raw))

    def _read(self, answer: dict[str, Any]) -> ChatResult:
        if error := self._error_within(answer):
            raise error
        try:
            choice = answer["choices"][0]
            message = message_of(choice["message"], usage_of(answer.get("usage")))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ProviderError(
                "malformed", f"an answer without choices, with the keys: {', '.join(answer) or 'none'}"
            ) from error
        info = info_of(answer, choice) | self._served()
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])

    async def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The host's answer as a stream."""
        numbers = ToolCallNumbers()
        async with aclosing(self._events(messages, stop, params)) as events:
            async for event in events:
                self._refuse(event)
                if (chunk := chunk_of(event, numbers)) is not None:
                    if chunk.generation_info:
                        chunk.generation_info |= self._served()
                    yield chunk

    def _refuse(self, event: Mapping[str, Any]) -> None:
        if error := self._error_within(event):
            raise error

    async def _events(
        self, messages: list[BaseMessage], stop: list[str] | None, params: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any]]:
        """The objects of the host's stream."""
        asked, began = {"stream": True, "stream_options": {"include_usage": True}, **params}, False
        try:
            response = await self._send(messages, stop, asked)
            try:
                async for event in events(response):
                    began = True
                    yield event
            finally:
                response.release()
        except Exception as error:
            failure = from_error(error, self._secrets())
            if began and failure.kind == "unreachable":
                failure = ProviderError("cut", f"the connection broke: {failure.said}")
            raise failure from error
