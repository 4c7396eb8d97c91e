"""A step whose loss is not a number, or far off the last good ones, is not learnt from."""

import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field


def objection(loss: float, grad_norm: float, good: Sequence[float], *, factor: float, window: int) -> str | None:
    """Why a step must not be applied; None if it may.

    Args:
        loss: Nats a token.
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


class LossGuard(pl.Callback):
    """Refuses bad steps before the optimizer sees them.

    Args:
        factor: Of the median above which a loss is refused.
        window: Good losses that are remembered.
    """

    def __init__(self, *, factor: Annotated[float, Field(gt=1)], window: Annotated[int, Field(gt=0)]) -> None:
        self.factor, self.window = factor, window
        self.good: deque[float] = deque(maxlen=window)

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: Any, optimizer: torch.optim.Optimizer) -> None:
        """Empty the gradients of a bad step; remember the loss of a good one."""
        facts = module.facts
        why = objection(facts.loss, facts.grad_norm, self.good, factor=self.factor, window=self.window)
        if why is None:
            self.good.append(facts.loss)
            return
        module.skip(why)
        module.event("skipped", total=facts.total, why=why, samples=facts.samples)

    def state_dict(self) -> dict[str, Any]:
        """The good losses."""
        return {"good": list(self.good)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The good losses, as they were."""
        self.good = deque(state_dict["good"], maxlen=self.window)
