"""Rollbacks of a run that diverged. Each decision is written to disk before any checkpoint is removed.

The written decisions alone define a rollback: its checkpoint, the steps to skip, and the learning rate. So a crash at
any point of a rollback does not change its outcome.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from hafs.core import durable, records
from hafs.core.errors import RunError


class RollbackRequest(Exception):
    """Raised to stop a stage and resume it from an earlier checkpoint.

    Args:
        why: The cause, for people.
        healthy: Last optimizer step of the run that is known to be good. The newest checkpoint up to it is loaded.
        left_out: First and last step to skip after the rollback; None: repeat every step unchanged.
    """

    def __init__(self, why: str, *, healthy: int, left_out: tuple[int, int] | None) -> None:
        super().__init__(why)
        self.why, self.healthy, self.left_out = why, healthy, left_out


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """One recorded rollback."""

    stage: int
    """Index of the stage."""
    to: int
    """Optimizer step of the run to return to."""
    left_out: tuple[int, int]
    """First and last step of the run to skip."""
    why: str
    """The cause, for people."""

    def leaves_out(self, total: int) -> bool:
        """Whether a step of the run, counted from zero, is skipped."""
        return self.left_out[0] <= total <= self.left_out[1]


class RollbackLog:
    """The rollbacks of a run, stored in its folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rollbacks.json"

    def of(self, stage: int) -> list[Rollback]:
        """The rollbacks of a stage, oldest first.

        Raises:
            RunError: The file is damaged.
        """
        return [decision for decision in self._all() if decision.stage == stage]

    def decide(self, decision: Rollback) -> None:
        """Write a rollback to disk. It is in force from then on."""
        decisions = [asdict(each) for each in (*self._all(), decision)]
        records.write_record(self.path, {"decisions": decisions})

    def _all(self) -> list[Rollback]:
        try:
            noted = records.read_record(self.path)
        except durable.Damaged as damage:
            raise RunError(
                f"{damage}, so the rolled-back steps are unknown", hint="restore the file from a backup"
            ) from damage
        return [Rollback(**each) for each in noted["decisions"]] if noted else []
