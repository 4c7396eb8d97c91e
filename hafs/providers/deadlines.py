"""Deadlines on the running loop's clock."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from hafs.providers.provider_error import ProviderError

T = TypeVar("T")


def now() -> float:
    """The time on the running loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


async def within(work: Awaitable[T], limit: float, why: str) -> T:
    """The result of some work.

    Args:
        work: It is cancelled at the limit.
        limit: The latest time, on the loop's clock.
        why: What did not come in time, for the error.

    Raises:
        ProviderError: `timeout`, the result was not there by `limit`.
    """
    began = now()
    try:
        async with asyncio.timeout_at(limit):
            return await work
    except TimeoutError as error:
        raise ProviderError("timeout", f"{why} in {max(0.0, now() - began):.1f} s") from error
