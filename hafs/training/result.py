"""What is kept of a finished stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished stage."""

    name: str
    kept: bool
    """False: it made the held-out loss worse, so what follows starts from the stage before it."""
    metrics: Mapping[str, float]
    """Held out: loss (nats per token), perplexity, accuracy, answer_tokens; of the training: sums under train_*."""
    answers: Sequence[str]
    """To the shown prompts."""
    total: int
    """Optimizer steps of the run until here."""
    epoch: int | None = None
    """The epoch whose weights and figures these are, from 1; None: there was one measurement, at the end."""
    epochs: int | None = None
    """Epochs that were trained."""

    @property
    def of_epoch(self) -> str:
        """`epoch 2 of 3`; empty where there was one measurement."""
        return f"epoch {self.epoch} of {self.epochs}" if self.epoch else ""
