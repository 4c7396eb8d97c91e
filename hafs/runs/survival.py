"""The interruptions and faults that a run survived, counted from its events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hafs.core.errors import USER_CAN_FIX

_AT_WORK = ("step", "stage_started", "stage_finished", "finished")
"""Events after which a start has resumed training."""


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Over all starts of a run so far."""

    interruptions: int
    """Starts that did not end by themselves: kills, signals, power cuts, errors."""
    steps_dropped: int
    """Optimizer steps that were not applied."""
    rollbacks: int
    """Returns to an earlier checkpoint."""
    out_of_memory: int
    """Repetitions of a step in smaller pieces."""
    damaged: int
    """Checkpoints that were set aside."""
    seconds_lost: float
    """Seconds of steps that were repeated or dropped, and of starts after interruptions until training continued."""

    def line(self) -> str:
        """The closing line of a run."""
        parts = [
            _count(self.interruptions, "interruption"),
            f"{_count(self.steps_dropped, 'step')} dropped",
            _count(self.rollbacks, "rollback"),
            f"{self.out_of_memory} out-of-memory {'retry' if self.out_of_memory == 1 else 'retries'}",
        ]
        if self.damaged:
            parts.append(_count(self.damaged, "damaged checkpoint"))
        return f"survived   {', '.join(parts)}; {self.seconds_lost:.0f} s lost"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def survival(events: Iterable[Mapping[str, Any]]) -> Survival:
    """Count what happened.

    Args:
        events: All of a run, oldest first.
    """
    kinds = dict.fromkeys(("rollback", "out_of_memory", "checkpoint_damaged"), 0)
    made: dict[int, Mapping[str, Any]] = {}
    interruptions, lost, started, finished, worked = 0, 0.0, None, True, False
    for event in events:
        kind = event.get("event")
        if kind == "started":
            interruptions += not finished
            started, finished, worked = None if finished else event.get("time"), False, False
        elif kind == "finished":
            finished = True
        elif kind == "ended" and not worked and event.get("exit_code") == USER_CAN_FIX:
            finished, started = True, None  # a mistyped path is no interruption
        elif kind in kinds:
            kinds[kind] += 1
        elif kind == "step":
            before = made.get(event.get("total", -1), {})
            lost += before.get("seconds") or 0.0
            made[event.get("total", -1)] = event
        worked = worked or kind in _AT_WORK
        if kind in _AT_WORK and started is not None:
            lost += max(0.0, (event.get("time") or started) - started)
            started = None
    dropped = [event for event in made.values() if event.get("skipped")]
    return Survival(
        interruptions=interruptions,
        steps_dropped=len(dropped),
        rollbacks=kinds["rollback"],
        out_of_memory=kinds["out_of_memory"],
        damaged=kinds["checkpoint_damaged"],
        seconds_lost=round(lost + sum(event.get("seconds") or 0.0 for event in dropped), 1),
    )
