"""Ways back from a run that ran away: decided once, written down before anything is undone.

What a rollback means (which checkpoint, which steps are left out, which rate) is read from the written decisions alone,
so a crash at any moment of it changes nothing.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from hafs.core import durable, records
from hafs.core.errors import RunError


class RollbackRequest(Exception):
    """Leaves a stage's training, to go on from an earlier checkpoint.

    Args:
        why: What happened.
        healthy: Optimizer steps of the run after which all was well; the newest checkpoint up to there is taken.
        left_out: First and last step not to learn from on the way back; None: repeat all of them as they were.
    """

    def __init__(self, why: str, *, healthy: int, left_out: tuple[int, int] | None) -> None:
        super().__init__(why)
        self.why, self.healthy, self.left_out = why, healthy, left_out


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """One decision to go back."""

    stage: int
    """Index of the stage."""
    to: int
    """Optimizer steps of the run that stay done."""
    left_out: tuple[int, int]
    """First and last step of the run that are not learnt from."""
    why: str
    """What happened."""

    def leaves_out(self, total: int) -> bool:
        """Whether a step of the run, counted from zero, is not learnt from."""
        return self.left_out[0] <= total <= self.left_out[1]


class RollbackLog:
    """The decisions of a run, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rollbacks.json"

    def of(self, stage: int) -> list[Rollback]:
        """Those of a stage, oldest first.

        Raises:
            RunError: The file is damaged.
        """
        return [decision for decision in self._all() if decision.stage == stage]

    def decide(self, decision: Rollback) -> None:
        """Write a decision down; from here on it holds."""
        decisions = [asdict(each) for each in (*self._all(), decision)]
        records.write_record(self.path, {"decisions": decisions})

    def _all(self) -> list[Rollback]:
        try:
            noted = records.read_record(self.path)
        except durable.Damaged as damage:
            raise RunError(
                f"{damage}, so nobody can say which steps were given up", hint="put a copy of it back"
            ) from damage
        return [Rollback(**each) for each in noted["decisions"]] if noted else []
