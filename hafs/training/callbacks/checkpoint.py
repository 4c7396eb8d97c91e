"""Writes a checkpoint every N steps and at the end of each epoch."""

from contextlib import suppress
from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field

from hafs.core.errors import HafsError
from hafs.core.failpoints import failpoint
from hafs.training.rollback import RollbackRequest
from hafs.training.trained_module import TrainedModule

Positive = Annotated[int, Field(gt=0)]


class Checkpoint(pl.Callback):
    """Saves only between optimizer steps, so that a resume neither repeats nor loses a step.

    Args:
        every_steps: Optimizer steps between two checkpoints.
        keep: Number of newest checkpoints to keep.
    """

    def __init__(self, *, every_steps: Positive, keep: Positive) -> None:
        self.every_steps, self.keep = every_steps, keep

    def setup(self, trainer: pl.Trainer, module: TrainedModule, stage: str) -> None:
        """Set the number of checkpoints to keep."""
        module.run.checkpoints.keep = self.keep

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Save every `every_steps` steps. On a stop request the module saves after all callbacks."""
        failpoint("step.done", f"step-{module.cursor.total:08d}")
        if module.cursor.total % self.every_steps == 0 and not trainer.is_last_batch:  # an epoch's end saves anyway
            module.save()

    def on_validation_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Failpoint for tests."""
        failpoint("validation.batch", f"step-{module.cursor.total:08d}")

    def on_validation_end(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Failpoint for tests."""
        failpoint("validation.done", f"step-{module.cursor.total:08d}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Save, with the cursor at the next epoch."""
        module.save()
        failpoint("epoch.done", f"step-{module.cursor.total:08d}")

    def on_exception(self, trainer: pl.Trainer, module: TrainedModule, exception: BaseException) -> None:
        """If another device's process was lost, save the state before the failed step, so that no step is lost."""
        lost = isinstance(exception, Exception) and not isinstance(exception, HafsError | RollbackRequest)
        if lost and module.devices.replicated and not module.updating:
            with suppress(Exception):  # the device may have failed; the previous checkpoint exists
                module.save_here()
