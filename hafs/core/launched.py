"""The rank of this process in a distributed run, read from the environment."""

import os
import threading
import time
from pathlib import Path

from hafs.core.errors import INTERRUPTED

RANK_FOLDER = "HAFS_RANK_FOLDER"
"""Set by rank 0 for the processes that it starts: the run's folder."""
RANK_PARENT = "HAFS_RANK_PARENT"
"""Set by rank 0 for the same processes: its process id."""
_LOOK_SECONDS, _GRACE_SECONDS = 0.2, 3.0


def rank() -> int:
    """The global rank of this process; 0 if it is the only process or the one that reports."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ and was_launched():
            return int(os.environ[name])
    return max(int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "NODE_RANK"))


def local_rank() -> int:
    """The rank of this process on its machine: the index of its device."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    return int(os.environ.get("SLURM_LOCALID", "0")) if was_launched() else 0


def was_launched() -> bool:
    """Whether rank 0 or a launcher has already started the processes of all devices."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def started_by_rank_zero() -> Path | None:
    """The run's folder if rank 0 started this process, else None."""
    return Path(os.environ[RANK_FOLDER]) if RANK_FOLDER in os.environ else None


def parent_is_gone() -> bool:
    """Whether rank 0 has ended, if it started this process."""
    return RANK_PARENT in os.environ and os.getppid() != int(os.environ[RANK_PARENT])


def end_with_the_parent() -> None:
    """Make sure that this process does not outlive rank 0, even while it waits for something.

    It writes no files, so nothing is lost; it has a few seconds to end by itself.
    """

    def watch() -> None:
        while not parent_is_gone():
            time.sleep(_LOOK_SECONDS)
        time.sleep(_GRACE_SECONDS)
        os._exit(INTERRUPTED)

    if RANK_PARENT in os.environ:
        threading.Thread(target=watch, name="hafs-parent", daemon=True).start()
