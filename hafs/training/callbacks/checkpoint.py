"""Checkpoints every so many steps, and at each epoch's end."""

from contextlib import suppress
from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field

from hafs.core.errors import HafsError
from hafs.core.failpoints import failpoint
from hafs.training.rollback import RollbackRequest

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
        """Save if it is time; where somebody asked to stop, the module saves behind all callbacks."""
        failpoint("step.done", f"step-{module.cursor.total:08d}")
        if module.cursor.total % self.every_steps == 0 and not trainer.is_last_batch:  # an epoch's end saves anyway
            module.save()

    def on_validation_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """A place to fail at."""
        failpoint("validation.batch", f"step-{module.cursor.total:08d}")

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """A place to fail at."""
        failpoint("validation.done", f"step-{module.cursor.total:08d}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Save, with the cursor at the next epoch."""
        module.save()
        failpoint("epoch.done", f"step-{module.cursor.total:08d}")

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        """Save before the failed step if another device's process was lost, so that not even that step's past is."""
        lost = isinstance(exception, Exception) and not isinstance(exception, HafsError | RollbackRequest)
        if lost and module.devices.replicated and not module.updating:
            with suppress(Exception):  # a device in trouble; the checkpoint before it is there
                module.save_here()
