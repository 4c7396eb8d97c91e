"""The reliability benchmark's run by the transformers Trainer: `save_steps`, `auto_find_batch_size`, resume."""

import sys
import warnings
from pathlib import Path

from torment import BATCH, EPOCHS, SAVE_EVERY, Torment, model, samples
from transformers import Trainer, TrainingArguments

warnings.simplefilter("ignore")
torment = Torment(sys.argv[1])


class Noting(Trainer):
    """The Trainer as it is, with the fault inside its loss."""

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        """A step, tormented."""
        step = self.state.global_step
        numbers = inputs.pop("number").tolist()
        torment.before(step, len(numbers))
        loss = torment.loss(step, model(**inputs).loss)
        torment.note(step, numbers, loss)
        return loss


arguments = TrainingArguments(
    "checkpoints", num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, save_steps=SAVE_EVERY,
    save_total_limit=3, learning_rate=1e-3, report_to=[], use_cpu=True, seed=7, remove_unused_columns=False,
    disable_tqdm=True,
    auto_find_batch_size=torment.fault == "memory",
)  # fmt: skip
trainer = Noting(model=model(), args=arguments, train_dataset=samples())
trainer.train(resume_from_checkpoint=any(Path("checkpoints").glob("checkpoint-*")) or None)
torment.end(trainer.model.parameters())
