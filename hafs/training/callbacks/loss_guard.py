"""A step whose loss is no number, or far off the last good ones, is not learnt from; a run that runs away goes back."""

import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field

from hafs.training.rollback import RollbackRequest

LEAST_DRIFT = 0.5
"""Nats per token by which the loss must have risen to count as running away: small losses double by chance."""


def objection(loss: float, grad_norm: float, good: Sequence[float], *, factor: float, window: int) -> str | None:
    """Why a step must not be applied; None if it may.

    Args:
        loss: Nats per token.
        grad_norm: Before clipping.
        good: Losses of the last applied steps.
        factor: A loss above `factor` times their median is refused.
        window: How many good losses make a median.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(grad_norm):
        return f"the gradients' norm is {grad_norm}"
    if len(good) == window and loss > factor * median(good):
        return f"the loss {loss:.3f} is more than {factor:g} times the median {median(good):.3f} of the last {window}"
    return None


def running_away(now: float, best: float, *, drift: float) -> str | None:
    """Why a run has diverged, step by small step; None if it has not.

    Args:
        now: Median of the last good losses, nats per token.
        best: The lowest such median of the stage.
        drift: A median above `drift` times the lowest one has run away.
    """
    if now > drift * best and now > best + LEAST_DRIFT:
        return f"the loss has drifted to {now:.3f}, from {best:.3f}"
    return None


class LossGuard(pl.Callback):
    """Refuses bad steps before the optimizer sees them, and goes back when they do not end.

    A checkpoint has proved healthy when `window` good steps followed it. After `patience` refused steps in a row, or
    when the loss has drifted away, training goes on from the newest such checkpoint with half the learning rate, and
    does not learn from the steps that led there.

    Args:
        factor: Of the median above which a loss is refused.
        window: Good losses that are remembered.
        patience: Refused steps in a row after which training goes back.
        drift: Of the stage's lowest median above which the median has run away; None: not looked at.
    """

    def __init__(
        self,
        *,
        factor: Annotated[float, Field(gt=1)],
        window: Annotated[int, Field(gt=0)],
        patience: Annotated[int, Field(gt=0)],
        drift: Annotated[float, Field(gt=1)] | None,
    ) -> None:
        self.factor, self.window, self.patience, self.drift = factor, window, patience, drift
        self.load_state_dict({"good": [], "good_at": [], "bad_at": [], "best": math.inf, "best_at": 0})

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: Any, optimizer: torch.optim.Optimizer) -> None:
        """Empty the gradients of a bad step; remember the loss of a good one."""
        facts = module.facts
        why = objection(facts.loss, facts.grad_norm, self.good, factor=self.factor, window=self.window)
        if module.leaves_out(facts.total):
            why = "left out after a rollback"
        elif why is None:
            self._remember(facts.total, facts.loss)
        else:
            self.bad_at.append(facts.total)
        if why:
            module.skip(why)
            module.event("skipped", total=facts.total, why=why, samples=facts.samples)

    def _remember(self, total: int, loss: float) -> None:
        self.bad_at.clear()
        self.good.append(loss)
        self.good_at.append(total)
        if len(self.good) == self.window and median(self.good) < self.best:
            self.best, self.best_at = median(self.good), self.good_at[0]

    def _healthy(self) -> int:
        """Steps of the run after which a checkpoint has proved healthy."""
        return self.good_at[0] if len(self.good_at) == self.window else 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Keep the proven checkpoint from rotation; go back if it is time.

        Raises:
            RollbackRequest: Refused steps did not end, or the loss drifted away.
        """
        module.run.checkpoints.proven = self._healthy()
        if len(self.bad_at) >= self.patience:
            raise RollbackRequest(
                module.facts.skipped or "", healthy=self._healthy(), left_out=(self.bad_at[0], self.bad_at[-1])
            )
        away = self._away()
        if away:
            healthy = min(self._healthy(), self.best_at)
            raise RollbackRequest(away, healthy=healthy, left_out=(self.good_at[0], self.good_at[-1]))

    def _away(self) -> str | None:
        if self.drift is None or len(self.good) < self.window:
            return None
        return running_away(median(self.good), self.best, drift=self.drift)

    def state_dict(self) -> dict[str, Any]:
        """The good losses, the lowest median, the refused steps."""
        lists = {name: list(getattr(self, name)) for name in ("good", "good_at", "bad_at")}
        return lists | {"best": self.best, "best_at": self.best_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All as it was."""
        self.good: deque[float] = deque(state_dict["good"], maxlen=self.window)
        self.good_at: deque[int] = deque(state_dict["good_at"], maxlen=self.window)
        self.bad_at: list[int] = list(state_dict["bad_at"])
        self.best: float = state_dict["best"]
        self.best_at: int = state_dict["best_at"]
