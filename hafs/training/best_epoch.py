"""The best measured epoch of a stage. The stage passes its weights on, even if later epochs were worse.

Its weights are in the checkpoint of that epoch's end, which rotation keeps. Every later checkpoint records which epoch
it is, so a resume and a rollback know the best epoch up to their step.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hafs.core import durable
from hafs.runs.checkpoints import Checkpoints
from hafs.training.rollback import RollbackRequest
from hafs.training.step import Cursor


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """An epoch whose held-out loss was the lowest so far."""

    total: int
    """Optimizer step of the run at the epoch's end."""
    epoch: int
    """Number of the epoch, from 1."""
    held_out: Mapping[str, float]
    """Held-out metrics: loss (nats per token) and others."""


class BestEpoch:
    """Tracks the best epoch of the current stage.

    Args:
        checkpoints: Hold the weights; told which of them to keep.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.restore([])

    def restore(self, bests: list[dict[str, Any]]) -> None:
        """Restore what `state` returned; an empty list means that nothing was measured yet."""
        self._bests = [EpochResult(**each) for each in bests]
        self._copy: dict[str, torch.Tensor] = {}
        self._spare()

    def state(self) -> list[dict[str, Any]]:
        """Every epoch that was the best at some point, as plain values, the best one last."""
        return [asdict(best) | {"held_out": dict(best.held_out)} for best in self._bests]

    @property
    def now(self) -> EpochResult | None:
        """The best one so far."""
        return self._bests[-1] if self._bests else None

    def note(self, cursor: Cursor, held_out: Mapping[str, float], decides: str = "loss") -> None:
        """Record a measurement. A NaN loss replaces no earlier epoch, and any later measurement replaces it.

        Args:
            cursor: The position.
            held_out: What was measured.
            decides: The figure that the best epoch has lowest.
        """
        best = math.nan if self.now is None else self.now.held_out.get(decides, self.now.held_out["loss"])
        if self.now is None or math.isnan(best) or held_out.get(decides, held_out["loss"]) < best:
            self._bests.append(EpochResult(total=cursor.total, epoch=cursor.epoch, held_out=dict(held_out)))
            self._copy = {}
            self._spare()

    def hold(self, cursor: Cursor, trainable: Mapping[str, torch.nn.Parameter]) -> None:
        """At an epoch's end: copy the best weights to host memory if no checkpoint holds them."""
        if self.now and self.now.total == cursor.total and cursor.total not in self.checkpoints.steps():
            self._copy = {name: p.detach().cpu().clone() for name, p in trainable.items()}

    def take(self, cursor: Cursor, trainable: Mapping[str, torch.nn.Parameter]) -> EpochResult | None:
        """At a stage's end: load the best weights and return their metrics.

        Raises:
            RollbackRequest: The weights are missing or damaged; the steps up to them are repeated.
        """
        best = self.now
        if best is None or best.total == cursor.total:
            return best
        weights = self._copy or self._saved(best)
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(weights[name])
        return best

    def _saved(self, best: EpochResult) -> Mapping[str, torch.Tensor]:
        try:
            return self.checkpoints.state_of(best.total)["trained"]
        except durable.Damaged as damage:
            why = f"the weights of epoch {best.epoch}, the best, cannot be read: {damage}"
            raise RollbackRequest(why, healthy=best.total - 1, left_out=None) from damage

    def _spare(self) -> None:
        self.checkpoints.bests = [best.total for best in self._bests]
