"""Answers a few held-out prompts at the end of each epoch."""

from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field

from hafs.modeling.generation import answer, prompt_of
from hafs.training.trained_module import TrainedModule

Count = Annotated[int, Field(ge=0)]


class Generations(pl.Callback):
    """Answers the first prompts of the held-out split and writes the answers to `events.jsonl`.

    Args:
        prompts: Number of prompts.
        max_new_tokens: Maximum length of an answer, in tokens.
    """

    def __init__(self, *, prompts: Count, max_new_tokens: Annotated[int, Field(gt=0)]) -> None:
        self.prompts, self.max_new_tokens = prompts, max_new_tokens

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Generate and log the answers. After the last epoch the stage's end does this instead."""
        if module.cursor.epoch >= module.stage.epochs:
            return
        split: Any = trainer.datamodule.held_out  # type: ignore[attr-defined]
        prompts = [prompt_of(split.conversation(i)) for i in range(min(self.prompts, len(split)))]
        if not prompts or not trainer.is_global_zero:
            return
        answers = answer(module.net, module.tokenizer, prompts, max_new_tokens=self.max_new_tokens)
        module.note_answers(prompts, answers)
