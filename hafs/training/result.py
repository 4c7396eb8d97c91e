"""The stored result of a finished stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished stage."""

    name: str
    kept: bool
    """False: the stage increased the held-out loss, so the next stage starts from an earlier one."""
    metrics: Mapping[str, float]
    """Held-out loss (nats per token), perplexity, accuracy, answer_tokens; sums over training as train_*."""
    answers: Sequence[str]
    """Answers to the shown prompts."""
    total: int
    """Optimizer steps of the run up to the stage's end."""
    epoch: int | None = None
    """The epoch of these weights and metrics, from 1; None: measured only at the stage's end."""
    epochs: int | None = None
    """Number of trained epochs."""

    @property
    def of_epoch(self) -> str:
        """`epoch 2 of 3`; empty if there was only one measurement."""
        return f"epoch {self.epoch} of {self.epochs}" if self.epoch else ""

    @property
    def of_pairs(self) -> str:
        """The figures of held-out pairs; empty if there are none."""
        m = self.metrics
        if "preference_loss" not in m:
            return ""
        ranked = f"{m['reward_accuracy']:.0%} ranked right, margin {m['reward_margin']:+.3f}"
        return f", preference loss {m['preference_loss']:.4f}, {ranked}"
