"""Which of a run's processes this one is, as whoever started it says in the environment."""

import os
import threading
import time
from pathlib import Path

from hafs.core.errors import INTERRUPTED

RANK_FOLDER = "HAFS_RANK_FOLDER"
"""Of the processes that the first one of a run starts: the folder of the run."""
RANK_PARENT = "HAFS_RANK_PARENT"
"""Of the same: the number of the first one."""
_LOOK_SECONDS, _GRACE_SECONDS = 0.2, 3.0


def rank() -> int:
    """The place of this process among all of the run; 0 where nobody launched it, and for the one that speaks."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ and was_launched():
            return int(os.environ[name])
    return max(int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "NODE_RANK"))


def local_rank() -> int:
    """The place of this process among those of its machine: which device is its own."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    return int(os.environ.get("SLURM_LOCALID", "0")) if was_launched() else 0


def was_launched() -> bool:
    """Whether somebody, the first process or a launcher, has started the processes of all devices."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def started_by_rank_zero() -> Path | None:
    """The run's folder, in a process that the first one of a run started."""
    return Path(os.environ[RANK_FOLDER]) if RANK_FOLDER in os.environ else None


def parent_is_gone() -> bool:
    """Whether the first process of the run has ended, in one that it started."""
    return RANK_PARENT in os.environ and os.getppid() != int(os.environ[RANK_PARENT])


def end_with_the_parent() -> None:
    """See that this process does not outlive the first one of the run, whatever it waits for.

    It never writes, so nothing is lost with it; some seconds are left for it to end by itself.
    """

    def watch() -> None:
        while not parent_is_gone():
            time.sleep(_LOOK_SECONDS)
        time.sleep(_GRACE_SECONDS)
        os._exit(INTERRUPTED)

    if RANK_PARENT in os.environ:
        threading.Thread(target=watch, name="hafs-parent", daemon=True).start()
