"""The suite of ROM-hacking tasks that no training sees: ten families, six tasks each, in asar's dialect."""

from typing import Any

from hafs.evaluation.rom.task import RomTask

from ..dice import Dice
from . import conversions, frames, patches, routines
from .build import FAMILIES

__all__ = ["FAMILIES", "records", "tasks"]

MODULES = (conversions, frames, patches, routines)
EACH = 6


def tasks(seed: int) -> list[RomTask]:
    """All tasks, family by family."""
    return [FAMILIES[name](Dice(f"suite/{seed}/{name}/{k}"), k) for name in sorted(FAMILIES) for k in range(EACH)]


def records(seed: int) -> list[dict[str, Any]]:
    """The tasks as they are written to the file."""
    return [task.as_json() for task in tasks(seed)]
