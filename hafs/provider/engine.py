"""One base in memory and one thread that answers with it: requests that come together share every pass.

A request joins the running batch at its next step and leaves it at its end, at its deadline, or when nobody waits for
it any more; which adapter it takes is its own affair. The thread starts with the first request, ends when there has
been none for a while, and ends with the process.
"""

import atexit
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hafs.errors import HafsError
from hafs.generation import Pieces, Row, Sampling, rest
from hafs.generation.decoder import Decoder, Token
from hafs.generation.stop import StopWords
from hafs.provider.refusal import Refused
from hafs.text import end_tokens

T = TypeVar("T")
IDLE_SECONDS = 5.0
"""Without work the thread ends; the base stays."""


class Said(NamedTuple):
    """What a request hears while it is answered."""

    text: str
    tokens: int
    """Of the answer so far."""
    finish: str | None
    """stop or length, with the last one."""


class Job:
    """A request in the engine.

    Args:
        prompt: Token ids.
        adapter: A folder; None: the base alone.
        limit: Longest answer, in tokens.
        sampling: How its tokens are drawn.
        stop: Texts that end it.
        deadline: On `time.monotonic`; None: whenever it is done.
        tell: Called from the engine's thread with every `Said`, or with the exception that ended it.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        adapter: Path | None,
        limit: int,
        sampling: Sampling,
        stop: Sequence[str],
        deadline: float | None,
        tell: Callable[[Said | Exception], None],
    ) -> None:
        self.adapter, self.deadline, self.tell = adapter, deadline, tell
        self.row = Row(prompt, adapter=None, limit=limit, sampling=sampling)
        self.stop = StopWords(stop)
        self.pieces: Pieces | None = None
        self.over = False

    def hear(self, token: int | None, tokenizer: Any) -> None:
        """Pass a token on as text; a stop sequence ends the answer."""
        if self.over:
            return
        self.pieces = self.pieces or Pieces(tokenizer)
        text = self.pieces.add(token)
        if self.row.finish == "length":
            text += self.pieces.add(None)
        text = self.stop.feed(text)
        if self.stop.found:
            self.row.finish = "stop"
        elif self.row.finish:
            text += self.stop.end()
        if self.row.finish:
            self.over = True
        if text or self.row.finish:
            self.tell(Said(text, len(self.row.said), self.row.finish))

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        if not self.over:
            self.over = True
            self.tell(error)


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
            self._thread = threading.Thread(target=self._work, name="hafs-engine", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _work(self) -> None:
        try:
            while self._wait():
                try:
                    self._prepare()
                    self._take_in()
                    self._step()
                except Exception as error:  # whatever it is, nobody may wait for ever
                    self._fail_all(error)
        finally:
            if self._stopping:
                self._fail_all(Refused("unreachable", "the engine was closed"))

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
            self._thread = None
            return False

    def _prepare(self) -> None:
        if self._net is None:
            from hafs.adapter.shelf import Shelf

            net = self._load()
            rest(net)
            self._shelf = Shelf(net, keep=self._adapters)
            self._net = net
            self._decoder = self._new_decoder()

    def _new_decoder(self) -> Decoder:
        return Decoder(self._net, ends=end_tokens(self.tokenizer), rows=self._rows)

    def _take_in(self) -> None:
        with self._changed:
            jobs, self._inbox = self._inbox, []
            calls, self._calls = self._calls, []
            self._jobs |= {id(job.row): job for job in jobs}
        for job in jobs:
            try:
                job.row.adapter = self._name_of(job.adapter)
                self._decoder.add(job.row)
            except Exception as error:
                job.fail(error)
        for function, future in calls:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(self._net, self._name_of))
                except BaseException as error:
                    future.set_exception(error)

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

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            jobs, self._inbox = [*self._inbox, *self._jobs.values()], []
            calls, self._calls = self._calls, []
            self._jobs = {}
        if self._net is not None:
            self._decoder = self._new_decoder()
        for job in jobs:
            job.fail(error if isinstance(error, HafsError | Refused) else Refused("failed", repr(error)))
        for _, future in calls:
            future.set_exception(error)
