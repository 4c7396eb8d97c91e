"""Signals that stop a command: noted immediately, obeyed where nothing is lost."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hafs.core.errors import INTERRUPTED, Interrupted
from hafs.core.launched import started_by_rank_zero

CONTINUES = "the same command continues"
MEAN_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class StopNow(BaseException):
    """A signal arrived while there is nothing to save; `except Exception` does not catch it."""

    exit_code = INTERRUPTED


class StopSignals:
    """While entered, the first signal requests a stop and a second one ends the process immediately.

    Outside `deferred()` there is nothing to save, and the first signal raises `StopNow` immediately.

    Args:
        for_good: Keep the handlers after exit and only note signals: the process is about to end.
    """

    def __init__(self, *, for_good: bool = False) -> None:
        self.for_good = for_good
        self.asked: str | None = None
        """Name of the first signal; None: no signal yet."""
        self.raised = False
        """Whether it was raised as `StopNow`."""
        self._deferred = False
        self._why: str | None = None

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            heard = [n for n in MEAN_STOP if signal.getsignal(n) != signal.SIG_IGN]  # nohup means: go on
            self._before = {number: signal.signal(number, self._hear) for number in heard}
            self._tell, sys.unraisablehook = sys.unraisablehook, self._unraisable
            if started_by_rank_zero():
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return self

    def __exit__(self, *_: object) -> None:
        if self.for_good:
            self._deferred = True
            return
        for number, handler in getattr(self, "_before", {}).items():
            signal.signal(number, handler)
            sys.unraisablehook = self._tell

    def _unraisable(self, told: "sys.UnraisableHookArgs") -> None:
        """Say nothing of a stop that came while an object was deleted, where no error can rise: `obey()` raises it."""
        if not isinstance(told.exc_value, StopNow):
            self._tell(told)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signal; the caller checks `asked` where it can save.

        Nested in another `deferred()` it does nothing: the outer caller decides when to stop.

        Raises:
            Interrupted: On entry or exit, if a signal is pending.
        """
        if self._deferred:
            yield
            return
        self.obey()
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.obey()

    def ask(self, why: str) -> None:
        """Ask the main thread to stop as a signal does; for other threads.

        Args:
            why: The reason, shown instead of a signal's name.
        """
        if not self.asked and signal.getsignal(signal.SIGTERM) == self._hear:
            self._why = why
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def interrupted(self) -> Interrupted:
        """The error that ends the run cleanly."""
        who = self.asked or "another process"
        return Interrupted(f"stopped by {who}; nothing is lost", hint=CONTINUES)

    def obey(self) -> None:
        """Stop here.

        Raises:
            Interrupted: A signal arrived and its error was swallowed, for example by an optional import.
        """
        if self.asked:
            raise self.interrupted()

    def _hear(self, number: int, _: FrameType | None) -> None:
        why, self._why = self._why, None
        if self.asked and why:
            return  # a thread requested a stop that was already requested
        if self.asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked = why or signal.Signals(number).name
        if not self._deferred:
            self.raised = True
            raise StopNow(self.interrupted().fact)


_listening: list[StopSignals] = []


@contextmanager
def listening(*, for_good: bool = False) -> Iterator[StopSignals]:
    """The active signal handler, or a new one for the duration of the block.

    Args:
        for_good: The process ends after the block; signals in between are ignored.
    """
    if _listening:
        with stop_is_an_error():
            yield _listening[-1]
        return
    with StopSignals(for_good=for_good) as stop:
        _listening.append(stop)
        try:
            with stop_is_an_error():
                yield stop
        finally:
            _listening.remove(stop)


@contextmanager
def stop_is_an_error() -> Iterator[None]:
    """Turn a stop, and any error that a library made of it, into an error that a command reports.

    Raises:
        Interrupted: A signal arrived.
    """
    try:
        yield
    except StopNow as stop:
        raise Interrupted(str(stop), hint=CONTINUES) from stop
    except Exception as error:
        for stop in _listening:
            if stop.raised:
                raise stop.interrupted() from error
        raise


def is_the_program() -> bool:
    """Whether this process is a command of hafs, and not another program that imports hafs.

    `hafs COMMAND`, `python -m hafs COMMAND`, `python -m hafs.train` and `python -m hafs.commands.COMMAND` are commands.

    Call it while `hafs` itself is imported: `sys.argv` is not the module's yet.
    """
    if sys.argv[:1] == ["-m"]:
        modules = [word.removeprefix("-m") for word in sys.orig_argv[1:]]
        return any(word == "hafs" or word.startswith("hafs.") for word in modules)
    return bool(sys.argv) and Path(sys.argv[0]).stem == "hafs"


def quiet_until_a_command_runs() -> None:
    """Let Ctrl-C end the process without a traceback, as other signals do: there is nothing to clean up yet."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_at_ctrl_c() -> None:
    """Let Ctrl-C raise an exception again, so that work started from here on is cleaned up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
