"""Ends a stage when the held-out loss has stopped falling."""

from typing import Annotated, cast

import pytorch_lightning as pl
from pydantic import Field
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping

from hafs.training.trained_module import TrainedModule


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping on the held-out loss; its state is reset in each stage.

    Args:
        patience: Validations without an improvement before the stage ends.
        min_delta: Nats per token that count as an improvement.
    """

    def __init__(self, *, patience: Annotated[int, Field(gt=0)], min_delta: Annotated[float, Field(ge=0)]) -> None:
        super().__init__(
            monitor="val_loss",
            patience=patience,
            min_delta=min_delta,
            mode="min",
            strict=False,
            check_on_train_epoch_end=False,  # right after the measurement, so that the epoch's checkpoint records it
        )

    def on_validation_end(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Check the loss, and log an event if the stage ends here."""
        before = trainer.should_stop
        super().on_validation_end(trainer, cast(pl.LightningModule, module))
        if trainer.should_stop and not before:
            module.event("early_stopping", epoch=module.cursor.epoch - 1, best=float(self.best_score))

    def _should_skip_check(self, trainer: pl.Trainer) -> bool:
        return False  # a measurement that a stop interrupted is repeated outside of fitting, and counts
