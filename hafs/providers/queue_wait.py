"""The time that a request waits in a queue of hafs. Limits on a host's speed do not count it.

A request with such limits announces its wait (`announced`). A host with a queue takes it (`announced_wait`) before its
first await, and marks the time in the queue.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(eq=False)
class QueueWait:
    """The wait of one call, in seconds on the running loop's clock."""

    _ended: float = field(default=0.0, init=False)
    _since: float | None = field(default=None, init=False)
    _watchers: list[Callable[[], None]] = field(default_factory=list, init=False)

    @property
    def waiting(self) -> bool:
        """Whether the call is in the queue now."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """Seconds in the queue so far."""
        return self._ended + (0.0 if self._since is None else _now() - self._since)

    def begin(self) -> None:
        """The call enters the queue."""
        if self._since is None:
            self._since = _now()
            self._tell()

    def end(self) -> None:
        """The call leaves the queue: the host works on it from now on, or it was given up."""
        if self._since is not None:
            self._ended, self._since = self.seconds, None
            self._tell()

    @contextmanager
    def watched(self, change: Callable[[], None]) -> Iterator[None]:
        """Call `change` whenever the call enters or leaves the queue."""
        self._watchers.append(change)
        try:
            yield
        finally:
            self._watchers.remove(change)

    def _tell(self) -> None:
        for change in self._watchers:
            change()


_ANNOUNCED: ContextVar[QueueWait | None] = ContextVar("queue_wait", default=None)


def announced_wait() -> QueueWait:
    """The wait of the call that is being made; one that is not read for a call without limits."""
    return _ANNOUNCED.get() or QueueWait()


@contextmanager
def announced(wait: QueueWait) -> Iterator[None]:
    """Calls that begin inside use this wait."""
    token = _ANNOUNCED.set(wait)
    try:
        yield
    finally:
        _ANNOUNCED.reset(token)


def _now() -> float:
    return asyncio.get_running_loop().time()
