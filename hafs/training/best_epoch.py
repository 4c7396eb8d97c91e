"""The best measured epoch of a stage: what the stage hands on, whatever the epochs after it were.

Its weights lie in the checkpoint of that epoch's end, which rotation spares. Which one it is stands in every checkpoint
after it, so a resume and a rollback know what was the best at their place.
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
    """An epoch that was the best until then."""

    total: int
    """Optimizer steps of the run at its end."""
    epoch: int
    """From 1."""
    held_out: Mapping[str, float]
    """What was measured: loss (nats per token) and others."""


class BestEpoch:
    """Of the stage at work.

    Args:
        checkpoints: Where the weights are; the ones that are needed are spared.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.restore([])

    def restore(self, bests: list[dict[str, Any]]) -> None:
        """Stand where `state` was taken; nothing was measured where it is empty."""
        self._bests = [EpochResult(**each) for each in bests]
        self._copy: dict[str, torch.Tensor] = {}
        self._spare()

    def state(self) -> list[dict[str, Any]]:
        """Each epoch that was the best for a while, as plain values, the best one last."""
        return [asdict(best) | {"held_out": dict(best.held_out)} for best in self._bests]

    @property
    def now(self) -> EpochResult | None:
        """The best one so far."""
        return self._bests[-1] if self._bests else None

    def note(self, cursor: Cursor, held_out: Mapping[str, float]) -> None:
        """Take a measurement into account; one that is no number beats nothing, and whatever comes next beats it."""
        if self.now is None or math.isnan(self.now.held_out["loss"]) or held_out["loss"] < self.now.held_out["loss"]:
            self._bests.append(EpochResult(total=cursor.total, epoch=cursor.epoch, held_out=dict(held_out)))
            self._copy = {}
            self._spare()

    def hold(self, cursor: Cursor, trainable: Mapping[str, torch.nn.Parameter]) -> None:
        """At an epoch's end: where no checkpoint holds the best weights, a copy in host memory does."""
        if self.now and self.now.total == cursor.total and cursor.total not in self.checkpoints.steps():
            self._copy = {name: p.detach().cpu().clone() for name, p in trainable.items()}

    def take(self, cursor: Cursor, trainable: Mapping[str, torch.nn.Parameter]) -> EpochResult | None:
        """Put the best weights in the place of the last ones, at a stage's end; returns what was measured of them.

        Raises:
            RollbackRequest: They are gone or damaged; the steps up to them are made once more.
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
