"""Checkpoints every so many steps, at each epoch's end, and when the run is asked to stop."""

from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field
from pytorch_lightning.trainer.states import TrainerFn

from hafs.core.failpoints import failpoint

Positive = Annotated[int, Field(gt=0)]


class Checkpoint(pl.Callback):
    """Saves on optimizer boundaries only, so that a resume repeats and loses nothing.

    Args:
        every_steps: Optimizer steps between two checkpoints.
        keep: How many of the newest to keep.
    """

    def __init__(self, *, every_steps: Positive, keep: Positive) -> None:
        self.every_steps, self.keep = every_steps, keep

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        """Say how many to keep."""
        module.run.checkpoints.keep = self.keep

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Save if it is time, or if somebody asked to stop."""
        failpoint("step.done", f"step-{module.cursor.total:08d}")
        self._stop_if_asked(module)
        if module.cursor.total % self.every_steps == 0 and not trainer.is_last_batch:  # an epoch's end saves anyway
            module.save()

    def on_validation_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Stop in the middle of a measurement too: the weights have not changed since the last step."""
        failpoint("validation.batch", f"step-{module.cursor.total:08d}")
        if trainer.state.fn == TrainerFn.FITTING:
            self._stop_if_asked(module)

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """A place to fail at."""
        failpoint("validation.done", f"step-{module.cursor.total:08d}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Save, with the cursor at the next epoch."""
        module.save()
        failpoint("epoch.done", f"step-{module.cursor.total:08d}")
        self._stop_if_asked(module, saved=True)

    def _stop_if_asked(self, module: Any, *, saved: bool = False) -> None:
        if module.devices.anywhere(bool(module.stop.asked)):
            if not saved:
                module.save()
            module.event("interrupted", signal=module.stop.asked, total=module.cursor.total)
            raise module.stop.interrupted()
