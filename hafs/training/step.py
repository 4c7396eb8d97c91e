"""A run's position, and the facts of one step."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """A run's position, counted in samples. Data order and random numbers depend on it and the seed alone."""

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
        """The position after a step. After an epoch's last sample it is the start of the next epoch.

        Args:
            samples: Number of samples of the step.
            of: Number of samples of an epoch.
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
    """The facts of one optimizer step, for callbacks and `events.jsonl`."""

    stage: str
    epoch: int
    step: int
    """Of the stage, counted from zero."""
    total: int
    """Of the run, counted from zero."""
    samples: list[str]
    """Ids of the samples."""
    loss: float
    """Nats per supervised token over the whole step; of pairs: the mean preference loss."""
    accuracy: float
    """Share of supervised tokens that the model ranked first; of pairs: share whose better answer has the higher
    reward."""
    grad_norm: float
    """Before clipping."""
    lr: float
    tokens: int
    supervised: int
    rows: int
    """Forward passes on this device."""
    reward_margin: float | None = None
    """Of pairs: mean reward of the better answer minus that of the worse one."""
    skipped: str | None = None
    """Why the step was not applied; None if it was."""
