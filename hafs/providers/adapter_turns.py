"""AdapterTurns on a server that answers for one adapter at a time.

llama.cpp computes requests with the same adapters together. A request with others gets no token until all running ones
have ended, later ones of the same adapter included. So hafs admits requests itself, and adapters take turns.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hafs.providers.queue_wait import QueueWait


@dataclass(eq=False)
class QueuedCall:
    """A request that waits."""

    loop: asyncio.AbstractEventLoop
    called: asyncio.Event
    admitted: bool = False

    def call(self) -> None:
        """Admit it; its loop may be that of another thread, or closed."""
        self.admitted = True
        try:
            self.loop.call_soon_threadsafe(self.called.set)
        except RuntimeError:
            self.admitted = False


class AdapterTurns:
    """Who may be answered now; thread-safe.

    While no other group waits, requests of the running group are admitted immediately. As soon as one waits, no more
    are; when the running ones have ended, the next group gets a turn of up to `places` requests.

    Args:
        places: Concurrent requests.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._lock = threading.Lock()
        self._group: Hashable = None
        self._running = 0
        self._waiting: dict[Hashable, deque[QueuedCall]] = {}  # groups in the order of their turns

    @asynccontextmanager
    async def turn(self, group: Hashable, wait: QueueWait) -> AsyncIterator[None]:
        """Wait for a place, and hold it.

        Args:
            group: Requests of the same group may run together.
            wait: Is told how long the request waits.
        """
        ticket = QueuedCall(asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.setdefault(group, deque()).append(ticket)
            self._admit()
        try:
            if not ticket.admitted:
                wait.begin()
                await ticket.called.wait()
                wait.end()
            yield
        finally:
            wait.end()
            self._leave(group, ticket)

    def _leave(self, group: Hashable, ticket: QueuedCall) -> None:
        with self._lock:
            if ticket.admitted:
                self._running -= 1
            elif ticket in self._waiting.get(group, ()):
                self._waiting[group].remove(ticket)
                self._forget_if_empty(group)
            self._admit()

    def _admit(self) -> None:
        if not self._running and self._waiting:
            if self._group in self._waiting:
                self._waiting[self._group] = self._waiting.pop(self._group)  # behind the other groups
            self._group = next(iter(self._waiting))
        elif set(self._waiting) - {self._group}:
            return  # others wait: no request joins the running turn
        queue = self._waiting.get(self._group, deque())
        while queue and self._running < self.places:
            ticket = queue.popleft()
            ticket.call()
            self._running += ticket.admitted
        self._forget_if_empty(self._group)

    def _forget_if_empty(self, group: Hashable) -> None:
        if group in self._waiting and not self._waiting[group]:
            del self._waiting[group]
