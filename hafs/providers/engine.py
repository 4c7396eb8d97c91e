"""One base in memory and one thread that answers with it: requests that come together share every pass.

A request joins the running batch at its next step and leaves it at its end, at its deadline, or when nobody waits for
it any more; which adapter it takes is its own affair. The thread starts with the first request, ends when there has
been none for a while, and ends with the process.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from hafs.chat import end_tokens
from hafs.core.errors import HafsError
from hafs.modeling.generation import rest
from hafs.modeling.generation.decoder import Decoder, Token
from hafs.providers.classify import unsent
from hafs.providers.job import Job
from hafs.providers.provider_error import Refused

log = logging.getLogger(__name__)

T = TypeVar("T")
IDLE_SECONDS = 5.0
"""Without work the thread ends; the base stays."""


class Engine:
    """The base, its adapters and the rows in the making.

    Args:
        load: Gives the net, once, in the engine's thread.
        tokenizer: Gives its tokenizer, once.
        rows: Requests answered at once; others wait.
        adapters: Kept in memory.
    """

    def __init__(self, load: Callable[[], Any], tokenizer: Callable[[], Any], *, rows: int, adapters: int) -> None:
        self._load, self._load_tokenizer = load, tokenizer
        self._rows, self._adapters = rows, adapters
        self._changed = threading.Condition()
        self._inbox: list[Job] = []
        self._calls: list[tuple[Callable[..., Any], Future[Any]]] = []
        self._jobs: dict[int, Job] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._once = threading.Lock()
        self._tokenizer: Any = None
        self._net: Any = None
        self._decoder: Any = None
        self._ends: list[int] = []
        atexit.register(self.close)

    @property
    def tokenizer(self) -> Any:
        """The base's; loaded on the first use, by whoever asks."""
        with self._once:
            if self._tokenizer is None:
                self._tokenizer = self._load_tokenizer()
            return self._tokenizer

    @property
    def ready(self) -> bool:
        """Whether the tokenizer is there, so that a request can be prepared without waiting."""
        return self._tokenizer is not None

    @property
    def busy(self) -> int:
        """Requests that are not answered yet."""
        with self._changed:
            return len(self._inbox) + len(self._jobs)

    def submit(self, job: Job) -> None:
        """Let a request in; it hears through `job.tell`."""
        with self._changed:
            self._inbox.append(job)
            self._wake()

    def cancel(self, job: Job) -> None:
        """Nobody waits for it any more; its row is free at the next step."""
        with self._changed:
            job.over = True
            self._changed.notify()

    def call(self, function: Callable[..., T]) -> "Future[T]":
        """Run `function(net, name_of)` in the engine's thread, between two steps."""
        future: Future[T] = Future()
        with self._changed:
            self._calls.append((function, future))
            self._wake()
        return future

    def close(self) -> None:
        """End the thread; what is not answered ends with an error. The next request starts it again."""
        with self._changed:
            thread, self._stopping = self._thread, True
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._stopping = False

    # the thread -----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="hafs-engine", daemon=True)
            thread.start()  # may raise, and then there is none
            self._thread = thread
        self._changed.notify()

    def _work(self) -> None:
        cause: BaseException = Refused("unreachable", "the engine was closed")
        try:
            while self._wait():
                try:
                    self._prepare()
                    self._take_in()
                    self._step()
                except Exception as error:
                    self._failed(error)
        except BaseException as error:
            cause = error
            log.exception("the engine's thread ended; the next request starts another one")
        finally:
            self._end(cause)

    def _wait(self) -> bool:
        """Until there is work; False: it is time to end."""
        with self._changed:
            until = time.monotonic() + IDLE_SECONDS
            while not (self._inbox or self._calls or self._jobs or self._stopping):
                if not self._changed.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    break
            else:
                if not self._stopping:
                    return True
            if not self._stopping:
                self._thread = None  # under the lock: whoever comes now starts another one
            return False

    def _prepare(self) -> None:
        if self._decoder is not None:
            return
        self._ends = end_tokens(self.tokenizer)  # first: a template that has none is told before a base is loaded
        if self._net is None:
            from hafs.modeling.adapter.cache import AdapterCache

            net = self._load()
            rest(net)
            self._shelf = AdapterCache(net, keep=self._adapters)
            self._net = net
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> Decoder:
        return Decoder(self._net, ends=self._ends, rows=self._rows)

    def _take_in(self) -> None:
        with self._changed:
            jobs, self._inbox = self._inbox, []
            self._jobs |= {id(job.row): job for job in jobs}
        for job in jobs:
            try:
                job.row.adapter = self._name_of(job.adapter)
                self._decoder.add(job.row)
            except Exception as error:
                job.fail(error if isinstance(error, HafsError) else unsent(error))
        while (call := self._next_call()) is not None:
            function, future = call
            try:
                future.set_result(function(self._net, self._name_of))
            except BaseException as error:
                future.set_exception(error)

    def _next_call(self) -> tuple[Callable[..., Any], Future[Any]] | None:
        """A call that somebody waits for."""
        with self._changed:
            while self._calls:
                function, future = self._calls.pop(0)
                if future.set_running_or_notify_cancel():
                    return function, future
        return None

    def _name_of(self, folder: Path | None) -> str | None:
        if folder is None:
            return None
        in_use = {job.row.adapter for job in self._jobs.values()}
        return self._shelf.name_of(folder, in_use)

    def _step(self) -> None:
        self._let_go()
        told: list[Token] = self._decoder.step() if self._decoder else []
        for row, token in told:
            self._jobs[id(row)].hear(token, self.tokenizer)
        self._let_go()

    def _let_go(self) -> None:
        """Drop the rows that ended, that nobody waits for, or whose time is over."""
        now = time.monotonic()
        for key, job in list(self._jobs.items()):
            if not job.over and job.deadline is not None and now >= job.deadline:
                job.fail(Refused("timeout", f"no whole answer in time, {len(job.row.said)} tokens of it"))
            if job.over:
                self._decoder.drop(job.row)
                with self._changed:
                    del self._jobs[key]

    def _failed(self, error: Exception) -> None:
        """A round failed: the requests that it was for are told why, those that had not begun go on."""
        waiting = self._decoder.waiting if self._decoder is not None else []
        kept = {id(row) for row in waiting}
        with self._changed:
            begun = [self._jobs.pop(key) for key in list(self._jobs) if key not in kept]
        if begun:
            self._decoder = self._new_decoder()
            for row in waiting:
                self._decoder.add(row)
            _tell(begun, [], error)
        else:
            _tell(*self._everyone(), error)

    def _everyone(self) -> tuple[list[Job], list[tuple[Any, Future[Any]]]]:
        """All that wait, who are forgotten with that."""
        with self._changed:
            jobs, self._inbox, self._jobs = [*self._inbox, *self._jobs.values()], [], {}
            calls, self._calls = self._calls, []
            self._decoder = None
            return jobs, calls

    def _end(self, cause: BaseException) -> None:
        """The thread's last act: nobody may wait for it, and the next request starts another one."""
        with self._changed:
            if self._thread is not threading.current_thread():
                return  # it was idle, and another one may be at work by now
            self._thread, everyone = None, self._everyone()
        _tell(*everyone, cause if isinstance(cause, Exception) else Refused("failed", f"the engine ended: {cause!r}"))


def _tell(jobs: Sequence[Job], calls: Sequence[tuple[Any, Future[Any]]], error: Exception) -> None:
    """End requests and calls with an error."""
    for job in jobs:
        job.fail(error)
    for _, future in calls:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
