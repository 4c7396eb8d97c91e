"""Many answers, checked in several closed-off processes; one that hangs or fills memory costs its own answer only."""

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafs.core.errors import HafsError
from hafs.evaluation.rom.case_store import RowCases
from hafs.evaluation.rom.check import Executed, of_json
from hafs.evaluation.rom.task import RomTask

MEMORY = 1 << 30
"""Bytes of address space for each process."""
START_SECONDS = 60.0
_ROOT = str(Path(__file__).resolve().parents[3])


@dataclass(frozen=True, kw_only=True)
class RomJob:
    """One answer to check."""

    source: str
    """Its code."""
    syntax: str
    """Its dialect, `ca65` or `asar`."""
    row: RowCases | RomTask | None
    """What it must do: a row's cases, or a task of the suite; None: it only has to assemble."""
    seed: int
    """Of the case that is drawn at scoring time."""

    def line(self, seconds: float) -> bytes:
        """As the worker reads it."""
        kind = "task" if isinstance(self.row, RomTask) else "row"
        told = {"source": self.source, "syntax": self.syntax, "row": None, "task": None, "seed": self.seed}
        told |= {kind: self.row and self.row.as_json()}
        return json.dumps(told | {"seconds": seconds}).encode() + b"\n"


def check_all(
    jobs: Sequence[RomJob],
    *,
    workers: int | None = None,
    seconds: float = 10.0,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Executed]:
    """Check answers, in their order.

    Args:
        jobs: The answers.
        workers: Processes; None: one per core, at most eight.
        seconds: Longest time for one answer; its process is ended then, and another one started.
        progress: Called with the number of answers that are done.

    Raises:
        HafsError: The checking process does not start.
    """
    if not jobs:
        return []
    count = min(workers or min(os.cpu_count() or 1, 8), len(jobs))
    idle: queue.Queue[_Worker] = queue.Queue()
    for _ in range(count):
        idle.put(_Worker())
    done = 0

    def one(job: RomJob) -> Executed:
        worker = idle.get()
        try:
            return worker.check(job, seconds)
        finally:
            idle.put(worker)

    found = []
    try:
        with ThreadPoolExecutor(count) as pool:
            for verdict in pool.map(one, jobs):
                found.append(verdict)
                done += 1
                progress(done)
    finally:
        while not idle.empty():
            idle.get().end()
    return found


class _Worker:
    """A child process, started when it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def check(self, job: RomJob, seconds: float) -> Executed:
        """One answer; the process is ended if it does not come back."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(job.line(seconds))
            process.stdin.flush()
            told = self._line(seconds * 2 + 1)
        except BrokenPipeError:
            told = None
        if told is None:
            self.end()
            return Executed(right=False, why=f"took longer than {seconds:g} s, or more memory than it may")
        return of_json(told)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._folder = tempfile.TemporaryDirectory(prefix="hafs-rom-")
            self._process = subprocess.Popen(
                (sys.executable, "-m", "hafs.evaluation.rom.worker", self._folder.name, str(MEMORY)),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
                env={"PYTHONPATH": _ROOT, "PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
            if self._line(START_SECONDS) is None:
                self.end()
                raise HafsError("the process that checks routines does not start", hint="hafs doctor")
        return self._process

    def _line(self, seconds: float) -> dict[str, Any] | None:
        """The next line that the process writes; None where it ends or takes too long."""
        assert self._process is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self) -> None:
        """End the process and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        process.wait()
        if self._folder:
            self._folder.cleanup()
