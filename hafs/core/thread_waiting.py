"""How the threads of a product wait for each other: asleep where other programs keep the processors busy.

OpenMP's threads spin while they wait. Where another program holds a processor, they burn theirs until the last thread
of each product gets a turn: on two busy cores, products of 512 rows ran at a quarter of the speed of sleeping threads,
and those of two rows at 1/28 (docs/explanation/log.md). Alone on a machine, spinning is faster. libgomp reads the
policy as torch is imported.
"""

import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which users choose themselves."""
BUSY = 0.5
"""Processors that other programs keep busy, from which on threads sleep."""
STAT = Path("/proc/stat")


@dataclass(frozen=True)
class ProcessorUse:
    """A reading of the machine's processors, in seconds since it started."""

    total: float
    idle: float
    own: float
    """Of this process."""

    @classmethod
    def now(cls, stat: Path = STAT) -> "ProcessorUse | None":
        """The reading; None where the system has none."""
        try:
            ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        second = os.sysconf("SC_CLK_TCK")
        return cls(sum(ticks) / second, (ticks[3] + ticks[4]) / second, time.process_time())

    def others_until(self, later: "ProcessorUse", processors: int) -> float:
        """How many processors other programs kept busy between two readings."""
        total = later.total - self.total
        if total <= 0:
            return 0.0
        return max(0.0, processors * (total - (later.idle - self.idle) - (later.own - self.own)) / total)


def sleep_if_busy(since: ProcessorUse | None, now: ProcessorUse | None) -> bool:
    """Choose before torch is imported, by what other programs did meanwhile; returns whether threads will sleep.

    Nothing is changed where the user chose, or where torch is imported already.
    """
    if since is None or now is None or "torch" in sys.modules or any(name in os.environ for name in SETTINGS):
        return False
    others = since.others_until(now, os.cpu_count() or 1)
    if others < BUSY:
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    log.info(f"other programs use {others:.1f} processors: threads sleep while they wait (OMP_WAIT_POLICY=PASSIVE)")
    return True
