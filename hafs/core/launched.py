"""Which of a run's processes this one is, as whoever started it says in the environment."""

import os
from pathlib import Path

RANK_FOLDER = "HAFS_RANK_FOLDER"
"""Of the processes that the first one of a run starts: the folder of the run."""


def rank() -> int:
    """The place of this process among all of the run; 0 where nobody launched it, and for the one that speaks."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ and was_launched():
            return int(os.environ[name])
    return max(int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "NODE_RANK"))


def was_launched() -> bool:
    """Whether somebody, the first process or a launcher, has started the processes of all devices."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def started_by_rank_zero() -> Path | None:
    """The run's folder, in a process that the first one of a run started."""
    return Path(os.environ[RANK_FOLDER]) if RANK_FOLDER in os.environ else None
