"""Answers a request with a whole response or a stream; the work is cancelled when the client disconnects."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hafs.core.errors import HafsError
from hafs.council.chat_model import Council
from hafs.server.failures import refused
from hafs.server.openai_schema import Asked, Reply, answered_by, delta_of, finish_of, public

T = TypeVar("T")
ANSWERED_BY = "x-hafs-answered-by"
"""The header that names who answered; a stream names them in the receipt of its last chunk."""
CLIENT_GONE = 499
"""nginx's status for a client that closed its request; no client reads it."""


async def respond(request: Request, council: Council, question: Asked, *, done: Callable[[], None]) -> Response:
    """The response; `done` is called once, after all of its work has ended.

    Raises:
        HafsError: Nobody answered, and nothing was sent yet.
    """
    streaming = False
    try:
        messages = question.conversation()
        if not question.stream:
            return await _whole(request, council, question, messages)
        stream = council.astream(messages, stop=question.stops, **question.parameters)
        first = await _unless_gone(request, anext(stream))
        streaming = first is not None
        if first is None:
            await stream.aclose()  # type: ignore[attr-defined]
            return Response(status_code=CLIENT_GONE)
        return _Stream(
            _events(first, stream, question, done),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache"},
        )
    finally:
        if not streaming:
            done()


class _Stream(StreamingResponse):
    """Ends its generator as soon as the client disconnects, which cancels the requests to providers."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sending = asyncio.ensure_future(self.stream_response(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            with suppress(OSError, asyncio.CancelledError):
                await sending
            with suppress(asyncio.CancelledError):
                await gone
            await self.body_iterator.aclose()  # type: ignore[attr-defined]


async def _whole(request: Request, council: Council, question: Asked, messages: list[Any]) -> Response:
    message = await _unless_gone(request, council.ainvoke(messages, stop=question.stops, **question.parameters))
    if message is None:
        return Response(status_code=CLIENT_GONE)
    finish = finish_of(message.response_metadata, called=bool(message.tool_calls))
    reply, receipt = Reply(model=question.model), public(message.response_metadata)
    named = answered_by(receipt).encode("ascii", "replace").decode()
    return JSONResponse(
        reply.whole(message, message.usage_metadata, finish, receipt), headers={ANSWERED_BY: named} if named else None
    )


async def _events(
    first: Any, stream: AsyncIterator[Any], question: Asked, done: Callable[[], None]
) -> AsyncIterator[str]:
    """Server-sent events of an answer whose first chunk has arrived."""
    reply, called, usage, metadata = Reply(model=question.model), False, None, {}
    try:
        async with aclosing(stream):  # type: ignore[type-var]
            yield _event(reply.chunk({"role": "assistant", "content": ""}))
            async for message in _chained(first, stream):
                usage, metadata = message.usage_metadata or usage, message.response_metadata or metadata
                delta = delta_of(message)
                called = called or "tool_calls" in delta
                if delta:
                    yield _event(reply.chunk(delta))
            yield _event(reply.chunk({}, finish_of(metadata, called=called), receipt=public(metadata)))
            if question.stream_options and question.stream_options.include_usage:
                yield _event(reply.usage(usage))
            yield "data: [DONE]\n\n"
    except HafsError as error:
        yield _event(refused(error).body)
    finally:
        done()


async def _chained(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for item in rest:
        yield item


def _event(body: Any) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False, default=str)}\n\n"


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    """Returns when the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T] | Awaitable[T]) -> T | None:
    """The result of an awaitable; if the client disconnects first, it is cancelled and the result is None."""
    working: asyncio.Future[T] = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
