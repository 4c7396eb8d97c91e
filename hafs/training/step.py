"""Where a run stands, and what one of its steps was."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where a run stands, counted in samples; the only thing that order and randomness depend on."""

    stage: int = 0
    """Index of the stage."""
    epoch: int = 0
    """Epoch of the stage."""
    samples: int = 0
    """Samples of the epoch that are done."""
    step: int = 0
    """Optimizer steps of the stage that are done."""
    total: int = 0
    """Optimizer steps of the run that are done."""

    def after(self, samples: int, *, of: int) -> "Cursor":
        """Where a step leads; behind an epoch's last sample is the beginning of the next epoch.

        Args:
            samples: Of the step.
            of: Samples of an epoch.
        """
        done = self.samples + samples
        ended = done >= of
        return replace(
            self,
            epoch=self.epoch + ended,
            samples=0 if ended else done,
            step=self.step + 1,
            total=self.total + 1,
        )


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What one optimizer step was, for callbacks and for `events.jsonl`."""

    stage: str
    epoch: int
    step: int
    """Of the stage, counted from zero."""
    total: int
    """Of the run, counted from zero."""
    samples: list[str]
    """Ids of the samples."""
    loss: float
    """Nats a supervised token, over the whole step."""
    accuracy: float
    """Share of supervised tokens that were the most likely one."""
    grad_norm: float
    """Before clipping."""
    lr: float
    tokens: int
    supervised: int
    rows: int
    """Forward passes on this device."""
    skipped: str | None = None
    """Why the step was not applied; None if it was."""
