"""Ends a stage when the held-out loss has stopped falling."""

from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping on the held-out loss; a stage begins with a clean slate.

    Args:
        patience: Validations without an improvement before the stage ends.
        min_delta: Nats a token that count as an improvement.
    """

    def __init__(self, *, patience: Annotated[int, Field(gt=0)], min_delta: Annotated[float, Field(ge=0)]) -> None:
        super().__init__(monitor="val_loss", patience=patience, min_delta=min_delta, mode="min", strict=False)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Say so, if this is why the stage ended."""
        if self.stopped_epoch:
            module.event("early_stopping", epoch=self.stopped_epoch, best=float(self.best_score))
