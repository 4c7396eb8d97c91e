"""Deadlines on the running loop's clock."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

from hafs.providers.provider_error import ProviderError
from hafs.providers.queue_wait import QueueWait, announced

T = TypeVar("T")


def now() -> float:
    """The time on the running loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


async def within(
    work: Awaitable[T], limit: float, why: str, *, wait: QueueWait | None = None, latest: float = math.inf
) -> T:
    """The result of some work.

    Args:
        work: It is cancelled at the limit.
        limit: The time, on the loop's clock, until which a host may take. Time that the work spends in a queue of hafs
            from now on is added.
        why: What did not come in time, for the error.
        wait: Tells when the work is in a queue; None: it never is.
        latest: The latest time, queue or not.

    Raises:
        ProviderError: `timeout`, the result was not there in time.
    """
    began, waited = now(), wait.seconds if wait else 0.0
    try:
        if wait is not None:
            return await _queued(work, limit, wait, latest)
        async with asyncio.timeout_at(_finite(min(limit, latest))):
            return await work
    except TimeoutError as error:
        queued = wait.seconds - waited if wait else 0.0
        before = f", after {queued:.1f} s in the queue" if queued >= 0.05 else ""
        raise ProviderError("timeout", f"{why} in {max(0.0, now() - began - queued):.1f} s{before}") from error


async def _queued(work: Awaitable[T], limit: float, wait: QueueWait, latest: float) -> T:
    """The result of some work that may wait in a queue of hafs: `limit` moves by the time in the queue."""
    waited = wait.seconds

    def reached() -> float:
        return latest if wait.waiting else min(latest, limit + wait.seconds - waited)

    def change() -> None:
        if not timer.expired():
            timer.reschedule(_finite(reached()))

    timer = asyncio.timeout_at(_finite(reached()))
    async with timer:
        with announced(wait), wait.watched(change):
            return await work


def _finite(time: float) -> float | None:
    return None if time == math.inf else time
