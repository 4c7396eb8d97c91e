"""Skips steps whose loss is NaN, infinite or an outlier, and rolls a diverging run back."""

import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field

from hafs.training.rollback import RollbackRequest
from hafs.training.trained_module import TrainedModule

LEAST_DRIFT = 0.5
"""Minimum rise of the loss, in nats per token, that counts as divergence: small losses double by chance."""

PAIR_LOSS = math.log(2)
"""Loss of a pair that the model cannot tell apart. Well-ranked pairs come near zero, so one bad pair is no outlier."""

LEARNED_LOSS = 0.1
"""Nats per token of rows that are all but learned. A batch of other rows among them is no outlier."""


def objection(
    loss: float,
    grad_norm: float,
    good: Sequence[float],
    *,
    factor: float,
    window: int,
    least: float = LEARNED_LOSS,
) -> str | None:
    """Why a step must be skipped; None if it may be applied.

    Args:
        loss: Nats per token.
        grad_norm: The gradients' norm before clipping.
        good: The losses of the last applied steps.
        factor: A step with a loss above `factor` times their median is skipped.
        window: Number of losses in the median.
        least: A loss up to `factor` times this is never an outlier.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(grad_norm):
        return f"the gradients' norm is {grad_norm}"
    if len(good) == window and loss > factor * max(least, median(good)):
        return f"the loss {loss:.3f} is more than {factor:g} times the median {median(good):.3f} of the last {window}"
    return None


def running_away(now: float, best: float, *, drift: float) -> str | None:
    """Why a run has slowly diverged; None if it has not.

    Args:
        now: Median of the last good losses, nats per token.
        best: The lowest such median of the stage.
        drift: A median above `drift` times the lowest one counts as divergence.
    """
    if now > drift * best and now > best + LEAST_DRIFT:
        return f"the loss has drifted to {now:.3f}, from {best:.3f}"
    return None


class LossGuard(pl.Callback):
    """Skips bad steps before the optimizer applies them, and rolls back when they continue.

    A checkpoint is known to be good when `window` good steps followed it. After `patience` skipped steps in a row, or
    when the loss has drifted up, training resumes from the newest good checkpoint with half the learning rate, and
    skips the steps that led to the rollback.

    Args:
        factor: A loss above `factor` times the median is an outlier.
        window: Number of good losses in the median.
        patience: Number of skipped steps in a row that cause a rollback.
        drift: A median above `drift` times the stage's lowest one causes a rollback; None: never.
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

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: TrainedModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Clear the gradients of a bad step; store the loss of a good one."""
        facts = module.facts
        least = PAIR_LOSS if facts.reward_margin is not None else LEARNED_LOSS
        why = objection(facts.loss, facts.grad_norm, self.good, factor=self.factor, window=self.window, least=least)
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
        """Last step of the run known to be good."""
        return self.good_at[0] if len(self.good_at) == self.window else 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Keep the newest good checkpoint from rotation; roll back if needed.

        Raises:
            RollbackRequest: Too many steps in a row were skipped, or the loss drifted up.
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
        """The good losses, the lowest median, the skipped steps."""
        lists = {name: list(getattr(self, name)) for name in ("good", "good_at", "bad_at")}
        return lists | {"best": self.best, "best_at": self.best_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.good: deque[float] = deque(state_dict["good"], maxlen=self.window)
        self.good_at: deque[int] = deque(state_dict["good_at"], maxlen=self.window)
        self.bad_at: list[int] = list(state_dict["bad_at"])
        self.best: float = state_dict["best"]
        self.best_at: int = state_dict["best_at"]
