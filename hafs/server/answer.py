"""Answers a request with a whole response or a stream; the work is cancelled when the client disconnects."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hafs.council.chat_model import Council
from hafs.server.asked import Asked
from hafs.server.dialect import Conclusion, Event, Writer
from hafs.server.failures import as_api_error

T = TypeVar("T")
ANSWERED_BY = "x-hafs-answered-by"
"""The header that names who answered; a stream names them in the receipt of its last event."""
CLIENT_GONE = 499
"""nginx's status for a client that closed its request; no client reads it."""
Done = Callable[[Conclusion | None], None]
"""Called once, after all work of a request has ended; with None, it was not answered."""


async def respond(request: Request, council: Council, question: Asked, writer: Writer, *, done: Done) -> Response:
    """The response of a council, formatted by `writer`.

    Raises:
        HafsError: No provider answered, and nothing was sent yet.
    """
    handed_over = False
    try:
        messages = question.conversation()
        if not question.stream:
            handed_over = True
            return await _whole(request, council, question, messages, writer, done)
        stream = council.astream(messages, stop=question.stops, **question.parameters)
        first = await _unless_gone(request, anext(stream))
        if first is None:
            await stream.aclose()  # type: ignore[attr-defined]
            return Response(status_code=CLIENT_GONE)
        handed_over = True
        return _Stream(first, stream, writer, done)
    finally:
        if not handed_over:
            done(None)


class _Stream(StreamingResponse):
    """Closes the answer as soon as the client disconnects, which cancels the requests to providers.

    Args:
        first: The first chunk, which has arrived.
        answer: An async generator of the others.
        writer: Words them.
        done: Called once, also if the client is gone before anything was sent.
    """

    def __init__(self, first: Any, answer: AsyncIterator[Any], writer: Writer, done: Done) -> None:
        self.answer, self.done = answer, done
        self.started = False
        super().__init__(
            self._events(first, writer), media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

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
            if not self.started:  # closing a generator that has not begun runs none of it
                await self.answer.aclose()  # type: ignore[attr-defined]
                self.done(None)

    async def _events(self, first: Any, writer: Writer) -> AsyncIterator[str]:
        """Server-sent events of an answer whose first chunk has arrived."""
        self.started = True
        called, usage, metadata, end = False, None, {}, None
        try:
            async with aclosing(self.answer):  # type: ignore[type-var]
                yield _sent(writer.begin())
                async for message in _chained(first, self.answer):
                    usage, metadata = message.usage_metadata or usage, message.response_metadata or metadata
                    called = called or bool(message.tool_call_chunks)
                    if text := _sent(writer.part(message)):
                        yield text
                end = Conclusion(usage=usage, metadata=metadata, called=called)
                yield _sent(writer.end(end))
        except Exception as error:
            yield _sent(writer.broken(as_api_error(error)))
        finally:
            self.done(end)


async def _whole(
    request: Request, council: Council, question: Asked, messages: list[Any], writer: Writer, done: Done
) -> Response:
    end = None
    try:
        message = await _unless_gone(request, council.ainvoke(messages, stop=question.stops, **question.parameters))
        if message is None:
            return Response(status_code=CLIENT_GONE)
        end = Conclusion(
            usage=message.usage_metadata, metadata=message.response_metadata, called=bool(message.tool_calls)
        )
        named = end.answered_by.encode("ascii", "replace").decode()
        return JSONResponse(writer.whole(message, end), headers={ANSWERED_BY: named} if named else None)
    finally:
        done(end)


async def _chained(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for item in rest:
        yield item


def _sent(events: Iterable[Event]) -> str:
    """Server-sent events as text."""
    parts = []
    for event in events:
        data = event.data if isinstance(event.data, str) else json.dumps(event.data, ensure_ascii=False, default=str)
        parts.append(f"event: {event.name}\ndata: {data}\n\n" if event.name else f"data: {data}\n\n")
    return "".join(parts)


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
