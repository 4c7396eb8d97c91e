"""The processes of one run on several devices (ranks): started, watched and ended by hafs.

Rank 0 starts the others with its own overrides, or a launcher such as torchrun has started them all. A thread in each
watches the processes that it depends on. When one of them ends, the run stops. A rank that waits for it in a collective
operation gets an error; if the library keeps waiting, the thread ends the process. Checkpoints are on disk by then, so
the same command resumes the run.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hafs.core.errors import INTERRUPTED, HafsError, Interrupted, RunError
from hafs.core.launched import RANK_FOLDER, RANK_PARENT, parent_is_gone, rank, was_launched
from hafs.core.signals import CONTINUES, StopSignals

_OURS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
LOOK_SECONDS, GRACE_SECONDS = 0.2, 12.0
"""Seconds between two checks of the other ranks; seconds from the loss of a rank until this process is ended."""


class Ranks:
    """The other processes of a run. Enter it around all collective work.

    Args:
        world: Number of ranks, including this one.
        stop: Receives a stop request when a rank is lost.
        folder: The run's folder.
        overrides: Overrides for the ranks that this process starts.
    """

    def __init__(self, world: int, *, stop: StopSignals, folder: Path, overrides: Sequence[str]) -> None:
        self.world, self.stop, self.folder, self.overrides = world, stop, folder, overrides
        self.children: list[subprocess.Popen[bytes]] = []
        self.lost: str | None = None
        """Description of the rank that was lost; None while all are running."""
        self.lost_code = INTERRUPTED
        self._launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._ended = threading.Event()

    def __enter__(self) -> "Ranks":
        if self.world > 1:
            if not was_launched():
                self._start()
            threading.Thread(target=self._watch, name="hafs-ranks", daemon=True).start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        gone = isinstance(error, Exception) and not isinstance(error, HafsError) and self.is_one_gone()
        self._ended.set()
        if self.children:
            self._end_children(patient=error is None)
            for name in _OURS:
                os.environ.pop(name, None)
        if self.world > 1:
            _leave_group()
        if gone:
            raise self.ending() from error

    def _start(self) -> None:
        os.environ.update(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_free_port()), NODE_RANK="0", LOCAL_RANK="0",
            WORLD_SIZE=str(self.world),
        )  # fmt: skip
        command = [sys.executable, "-m", "hafs.train", *self.overrides]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited: Ctrl-C waits for a listener
        try:
            for local in range(1, self.world):
                mine = {"LOCAL_RANK": str(local), RANK_FOLDER: str(self.folder), RANK_PARENT: str(os.getpid())}
                environ = {**os.environ, **mine}
                environ.pop("HYDRA_FULL_ERROR", None)  # set by this process; debugging is among the overrides
                self.children.append(subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    # the others -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._look()
            if self.lost:
                self.stop.ask(self.lost)
                if not self._ended.wait(GRACE_SECONDS):
                    self._end_now()
                return

    def _look(self) -> None:
        if parent_is_gone() or self._launcher not in (None, os.getppid()):
            self.lost = "the end of the process that started this one"
        for number, child in enumerate(self.children, start=1):
            if child.poll():
                self.lost, self.lost_code = f"the end of rank {number}", _exit_code(child.returncode)

    def _end_now(self) -> None:
        """End this process from the watching thread, because the main thread waits for a lost rank."""
        if rank() == 0:
            print(f"hafs: {self.ending()}", file=sys.stderr, flush=True)
        for child in self.children:
            child.kill()
        os._exit(self.lost_code)

    def ending(self) -> Interrupted | RunError:
        """The error to raise when a rank was lost."""
        if self.lost_code == INTERRUPTED:
            return Interrupted(f"stopped by {self.stop.asked or self.lost}; nothing is lost", hint=CONTINUES)
        error = RunError(f"{self.lost}, with exit code {self.lost_code}", hint="its error message is printed above")
        error.exit_code = self.lost_code
        return error

    def is_one_gone(self, *, seconds: float = 5.0) -> bool:
        """Whether a rank is lost. Waits some seconds, because errors arrive before the watcher sees the loss."""
        deadline = time.monotonic() + seconds
        while self.world > 1 and not self.lost and not self.stop.asked and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.world > 1 and bool(self.lost or self.stop.asked)

    def _end_children(self, *, patient: bool) -> None:
        """Wait for the child processes to end. After a failure, terminate those that still wait."""
        for seconds, end in ((60.0 if patient else 2.0, "terminate"), (3.0, "kill"), (3.0, "kill")):
            deadline = time.monotonic() + seconds
            while any(child.poll() is None for child in self.children) and time.monotonic() < deadline:
                time.sleep(0.02)
            for child in self.children:
                if child.poll() is None:
                    getattr(child, end)()


def _exit_code(code: int) -> int:
    """The run's exit code for a rank's exit code. A rank that a signal ended can be resumed."""
    return INTERRUPTED if code < 0 or code in (INTERRUPTED, 128 + signal.SIGKILL, 128 + signal.SIGTERM) else code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _leave_group() -> None:
    """Leave the process group, so that the next run of this process makes its own."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
