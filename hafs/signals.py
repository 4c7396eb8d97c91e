"""Signals that mean "stop": heard at once, obeyed where nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hafs.errors import Interrupted

MEAN_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class StopSignals:
    """While entered, the first signal asks to stop and a second one ends the process at once.

    Outside `deferred()` there is nothing to save and the first signal raises `Interrupted` on the spot.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        """The signal's name, once there was one."""
        self._deferred = False

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in MEAN_STOP}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in getattr(self, "_before", {}).items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signal; who defers looks at `asked` where it can save.

        Raises:
            Interrupted: On leaving, if a signal came that nobody obeyed yet.
        """
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.obey()

    def interrupted(self) -> Interrupted:
        """The error that ends the run in good order."""
        who = self.asked or "another process"
        return Interrupted(f"stopped by {who}; nothing is lost", hint="the same command continues")

    def obey(self) -> None:
        """Stop here.

        Raises:
            Interrupted: A signal came whose error something swallowed, as imports that are tried do.
        """
        if self.asked:
            raise self.interrupted()

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked = signal.Signals(number).name
        if not self._deferred:
            raise self.interrupted()


_listening: list[StopSignals] = []


@contextmanager
def listening() -> Iterator[StopSignals]:
    """What listens already, or something that listens from here on until the block ends."""
    if _listening:
        yield _listening[-1]
        return
    with StopSignals() as stop:
        _listening.append(stop)
        try:
            yield stop
        finally:
            _listening.remove(stop)
