"""One event loop of hafs' own for callers that have none.

So invoke and stream run the same coroutines as ainvoke and astream.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


@cache
def own_loop() -> asyncio.AbstractEventLoop:
    """The loop, running in a thread that ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="hafs-loop", daemon=True).start()
    return loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, for a caller without a loop; Ctrl-C cancels it."""
    future = asyncio.run_coroutine_threadsafe(work, own_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(begin: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """The items of an async iterator, for a caller without a loop; a caller who goes away ends it.

    Args:
        begin: Makes the iterator; called on the loop.
    """
    arrived: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    async def pump() -> None:
        error: BaseException | None = None
        pieces = begin()
        try:
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
