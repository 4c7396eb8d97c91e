"""The reliability benchmark's run by hafs, through its command; the fault sits where the others have it."""

import contextlib
import json
import sys
from pathlib import Path

from torment import BATCH, EPOCHS, SAMPLES, SAVE_EVERY, Torment

torment = Torment(sys.argv[1])
if not Path("rows.jsonl").exists():
    rows = [{"instruction": f"load {i}", "output": f"the value {i * 3} goes to bank {i % 7}"} for i in range(SAMPLES)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))

from hafs import train  # noqa: E402
from hafs.training import step  # noqa: E402
from hafs.training.callbacks.journal import Journal  # noqa: E402
from hafs.training.module import FineTuningModule  # noqa: E402

loss_of, noted, ended = FineTuningModule.loss_of, Journal.on_train_batch_end, FineTuningModule.on_train_end


def loss(self, packed):
    """The loss of a row, tormented."""
    import torch

    if not torch.is_grad_enabled():
        return loss_of(self, packed)
    torment.before(self.cursor.total, len(packed.borders) - 1)
    found = loss_of(self, packed)
    return found._replace(nats=torment.loss(self.cursor.total, found.nats))


def note(self, trainer, module, *more):
    """A step was made."""
    torment.note(module.facts.total, module.facts.samples, module.facts.loss)
    noted(self, trainer, module, *more)


def end(self):
    """The stage has ended."""
    ended(self)
    torment.end(self.trainable().values())


FineTuningModule.loss_of, Journal.on_train_batch_end, FineTuningModule.on_train_end = loss, note, end
assert step
sys.argv = [
    "hafs.train", "model=tiny", "quant=none", "dataset=jsonl", "dataset.path=rows.jsonl", "dataset.val_fraction=0.05",
    "dataset.test_fraction=0", "precision=fp32", "logger=none", "trainer=cpu", "show.measured=0", "show.prompts=0",
    "callbacks.generations.prompts=0", "adapter.r=4", "adapter.lora_dropout=0.1", "stage=main", "stage.main.lr=1e-3",
    f"stage.main.batch_size={BATCH}", f"stage.main.epochs={EPOCHS}", f"callbacks.checkpoint.every_steps={SAVE_EVERY}",
    "stage.main.validation=end", "name=run",
]  # fmt: skip
with contextlib.suppress(KeyboardInterrupt):
    train.main()
