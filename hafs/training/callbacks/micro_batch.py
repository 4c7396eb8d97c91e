"""Finds how many tokens of a step fit in memory at once, before step 1."""

from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from pydantic import Field

from hafs.modeling import out_of_memory


class MicroBatch(pl.Callback):
    """Tries the longest samples for real, an evaluation step included, and halves until they fit.

    What was found holds for the rest of the run, its later stages and its resumes; if memory runs out after all, the
    module halves again within the step, with the same samples.

    Args:
        probe: Whether to try; auto: on a GPU, where memory is the limit.
        tokens: Tokens of a row to begin with; None: a whole step in one row.
    """

    def __init__(self, *, probe: bool | Literal["auto"], tokens: Annotated[int, Field(gt=0)] | None) -> None:
        self.probe, self.tokens = probe, tokens

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Probe once a run, leaving parameters, gradients and random numbers as they were."""
        wanted = module.on_gpu if self.probe == "auto" else self.probe
        if not wanted or module.micro_batch_size.found:
            return
        split: Any = trainer.datamodule.train  # type: ignore[attr-defined]
        longest = sorted(range(len(split)), key=lambda i: -int(split.lengths[i]))[: module.stage.batch_size]
        module.micro_batch_size.tokens = self.tokens or int(sum(split.lengths[i] for i in longest))
        with torch.random.fork_rng():
            module.try_out([split[i] for i in longest])
        out_of_memory.free_cache()
        module.micro_batch_size.found = True
        module.event("micro_batch", row_tokens=module.micro_batch_size.tokens)
