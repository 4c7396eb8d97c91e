"""Watches a process from outside: its peak memory, its processor time, and how busy everybody else kept the machine."""

import os
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY = 0.2
"""Seconds between two looks."""


@dataclass
class Watched:
    """What was seen of one process."""

    peak_bytes: int = 0
    """Largest resident memory of its whole life."""
    at: list[float] = field(default_factory=list)
    """Wall clock of each look, in seconds."""
    own: list[float] = field(default_factory=list)
    """Processor seconds it had used by then."""
    machine: list[float] = field(default_factory=list)
    """Processor seconds that everybody had used by then."""

    def between(self, start: float, end: float) -> tuple[float, float]:
        """Processor seconds used between two times: by the process, and by everybody else."""
        first, last = (min(bisect_left(self.at, when), len(self.at) - 1) for when in (start, end))
        own = self.own[last] - self.own[first]
        return own, max(0.0, self.machine[last] - self.machine[first] - own)


def watch(command: list[str], *, log: Path, where: Path, environment: dict[str, str]) -> Watched:
    """Run a command to its end.

    Raises:
        SystemExit: It failed; the end of its log is printed.
    """
    seen = Watched()
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=where, env=environment, stdout=out, stderr=subprocess.STDOUT)
        looking = threading.Thread(target=_look, args=(process.pid, seen), daemon=True)
        looking.start()
        _, status, usage = os.wait4(process.pid, 0)
    looking.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\nfailed:\n{log.read_text(errors='replace')[-4000:]}")
    seen.peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seen


def _look(pid: int, seen: Watched) -> None:
    try:
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            used = process.cpu_times()
            seen.at.append(time.time())
            seen.own.append(used.user + used.system)
            seen.machine.append(_busy())
            time.sleep(EVERY)
    except psutil.NoSuchProcess:
        return


def _busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


def wait_until_idle(patience: float) -> None:
    """Wait until others leave most of the machine alone, or until patience ends, in seconds."""
    until = time.monotonic() + patience
    while time.monotonic() < until and psutil.cpu_percent(interval=2) > 15:
        pass
