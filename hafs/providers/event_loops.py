"""An event loop owned by hafs for sync callers.

invoke and stream run the same coroutines as ainvoke and astream.
"""

import asyncio
import atexit
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()
END_SECONDS = 1.0


@cache
def own_loop() -> asyncio.AbstractEventLoop:
    """The loop; its thread ends with the process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hafs-loop", daemon=True)
    thread.start()
    atexit.register(_end, loop, thread)
    return loop


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Close the loop's async generators, as `asyncio.run` does at its end."""
    with suppress(Exception):
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(END_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(END_SECONDS)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine for a sync caller; Ctrl-C cancels it."""
    future = asyncio.run_coroutine_threadsafe(work, own_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(begin: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """The items of an async iterator for a sync caller; closing the iterator cancels it.

    Args:
        begin: Creates the iterator; called on the loop.
    """
    arrived: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    async def pump() -> None:
        error: BaseException | None = None
        pieces: AsyncIterator[T] | None = None
        try:
            pieces = begin()
            async for piece in pieces:
                arrived.put((piece, None))
        except BaseException as broken:
            error = broken
            if isinstance(broken, asyncio.CancelledError):
                raise
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                with suppress(BaseException):
                    await close()
            arrived.put((_END, error))

    future = asyncio.run_coroutine_threadsafe(pump(), own_loop())
    try:
        while True:
            piece, error = arrived.get()
            if error is not None:
                raise error
            if piece is _END:
                return
            yield piece
    finally:
        future.cancel()
