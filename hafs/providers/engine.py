"""Continuous batching for the local provider: one base in memory, one thread, one forward pass for all requests.

A request joins the running batch at the next step and leaves it at its end, at its deadline, or when it is cancelled.
Each request has its own adapter. The thread starts with the first request and ends after a while without work.
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
from hafs.modeling.generation import set_for_inference
from hafs.modeling.generation.decoder import Decoder, Generation, Token
from hafs.modeling.generation.fast_step import FastStep, fast_step_of
from hafs.providers.classify import unsent
from hafs.providers.job import Job
from hafs.providers.provider_error import ProviderError

log = logging.getLogger(__name__)

T = TypeVar("T")
_NOT_TRIED = object()
IDLE_SECONDS = 5.0
"""The thread ends after this long without work; the base stays loaded."""


class Engine:
    """The base, its adapters and the requests being answered.

    Args:
        load: Returns the model; called once, in the engine's thread.
        tokenizer: Returns its tokenizer; called once.
        rows: Requests in a batch; others wait.
        adapters: How many are kept in memory.
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
        self._fast: Any = _NOT_TRIED
        self._ends: list[int] = []
        atexit.register(self.close)

    @property
    def tokenizer(self) -> Any:
        """The base's tokenizer, loaded on first use in the caller's thread."""
        with self._once:
            if self._tokenizer is None:
                self._tokenizer = self._load_tokenizer()
            return self._tokenizer

    @property
    def ready(self) -> bool:
        """Whether the tokenizer is loaded, so that a request can be prepared without blocking."""
        return self._tokenizer is not None

    @property
    def busy(self) -> int:
        """The number of requests that are not answered yet."""
        with self._changed:
            return len(self._inbox) + len(self._jobs)

    def submit(self, job: Job) -> None:
        """Queue a request; its tokens arrive through `job.tell`."""
        with self._changed:
            self._inbox.append(job)
            self._wake()

    def cancel(self, job: Job) -> None:
        """Drop a request at the next step: the caller no longer waits for it."""
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
        """End the thread; unanswered requests fail. The next request starts the thread again."""
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
            thread.start()  # may raise; then there is no thread
            self._thread = thread
        self._changed.notify()

    def _work(self) -> None:
        cause: BaseException = ProviderError("unreachable", "the engine was closed")
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
            log.exception("the engine's thread ended; the next request starts a new one")
        finally:
            self._end(cause)

    def _wait(self) -> bool:
        """Block until there is work; False: the thread should end."""
        with self._changed:
            until = time.monotonic() + IDLE_SECONDS
            while not (self._inbox or self._calls or self._jobs or self._stopping):
                if not self._changed.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    break
            else:
                if not self._stopping:
                    return True
            if not self._stopping:
                self._thread = None  # under the lock: the next request starts a new thread
            return False

    def _prepare(self) -> None:
        if self._decoder is not None:
            return
        self._ends = end_tokens(self.tokenizer)  # first, so that a template error is reported before the base loads
        if self._net is None:
            from hafs.modeling.adapter.cache import AdapterCache

            net = self._load()
            set_for_inference(net)
            self._shelf = AdapterCache(net, keep=self._adapters)
            self._net = net
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> Decoder:
        return Decoder(self._net, ends=self._ends, rows=self._rows, admitted=self._admitted, fast_step=self._fast_step)

    def _fast_step(self) -> FastStep | None:
        if self._fast is _NOT_TRIED:
            self._fast = fast_step_of(self._net)
        return self._fast

    def _admitted(self, rows: Sequence[Generation]) -> None:
        for row in rows:
            self._jobs[id(row)].admit()

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
        """The next call that was not cancelled."""
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
        """Drop the requests that ended, were cancelled, or are past their deadline."""
        now = time.monotonic()
        for key, job in list(self._jobs.items()):
            if not job.over and job.deadline is not None and now >= job.deadline:
                job.fail(ProviderError("timeout", f"no complete answer in time, only {len(job.row.said)} tokens"))
            if job.over:
                self._decoder.drop(job.row)
                with self._changed:
                    del self._jobs[key]

    def _failed(self, error: Exception) -> None:
        """Fail the requests of a step that raised an error; requests that had not started continue."""
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
        """Remove and return all waiting requests and calls."""
        with self._changed:
            jobs, self._inbox, self._jobs = [*self._inbox, *self._jobs.values()], [], {}
            calls, self._calls = self._calls, []
            self._decoder = None
            return jobs, calls

    def _end(self, cause: BaseException) -> None:
        """Fail everything that still waits when the thread ends; the next request starts a new thread."""
        with self._changed:
            if self._thread is not threading.current_thread():
                return  # it ended idle, and a new thread may be running
            self._thread, everyone = None, self._everyone()
        _tell(
            *everyone,
            cause if isinstance(cause, Exception) else ProviderError("failed", f"the engine ended: {cause!r}"),
        )


def _tell(jobs: Sequence[Job], calls: Sequence[tuple[Any, Future[Any]]], error: Exception) -> None:
    """Fail requests and calls with an error."""
    for job in jobs:
        job.fail(error)
    for _, future in calls:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
