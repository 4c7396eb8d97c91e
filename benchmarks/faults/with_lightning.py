"""The reliability benchmark's run by stock Lightning: ModelCheckpoint, BatchSizeFinder, `ckpt_path="last"`."""

import sys
import warnings

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BatchSizeFinder, ModelCheckpoint
from torch.utils.data import DataLoader
from torment import BATCH, EPOCHS, SAVE_EVERY, Torment, model, samples

warnings.simplefilter("ignore")
torment = Torment(sys.argv[1])


class Module(pl.LightningModule):
    """Plain automatic optimization."""

    def __init__(self):
        super().__init__()
        self.net, self.batch_size = model(), BATCH

    def training_step(self, batch, _):
        """A step, tormented."""
        torment.before(self.global_step, len(batch["number"]))
        loss = torment.loss(self.global_step, self.net(input_ids=batch["input_ids"], labels=batch["labels"]).loss)
        torment.note(self.global_step, batch["number"].tolist(), loss)
        return loss

    def configure_optimizers(self):
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def train_dataloader(self):
        """Shuffled, as anybody does."""
        return DataLoader(samples(), batch_size=self.batch_size, shuffle=True)


pl.seed_everything(7, verbose=False)
callbacks = [
    ModelCheckpoint(
        "checkpoints", every_n_train_steps=SAVE_EVERY, save_top_k=3, monitor="step", mode="max", save_last=True
    )
]
if torment.fault == "memory":
    callbacks.append(BatchSizeFinder(init_val=BATCH, max_trials=1))
module = Module()
trainer = pl.Trainer(
    max_epochs=EPOCHS, accelerator="cpu", logger=False, callbacks=callbacks, enable_progress_bar=False,
    enable_model_summary=False,
)  # fmt: skip
trainer.fit(module, ckpt_path="last")
torment.end(module.parameters())
