"""Probes before step 1 how many tokens fit in memory in one forward pass."""

from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from pydantic import Field

from hafs.modeling import out_of_memory
from hafs.training.trained_module import TrainedModule


class MicroBatch(pl.Callback):
    """Runs a step and an evaluation on the longest samples, and halves the micro-batch size until they fit.

    The result is used for the rest of the run, including later stages and resumes. If memory still runs out, the
    module halves the size again within the step and repeats the same samples.

    Args:
        probe: Whether to probe; auto: only on a GPU.
        tokens: Initial tokens of a packed sequence; None: what the plan says, at most the whole step.
    """

    def __init__(self, *, probe: bool | Literal["auto"], tokens: Annotated[int, Field(gt=0)] | None) -> None:
        self.probe, self.tokens = probe, tokens

    def on_train_start(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Probe once per run. Parameters, gradients and random numbers are unchanged afterwards."""
        wanted = module.on_gpu if self.probe == "auto" else self.probe
        if not wanted or module.micro_batch_size.found:
            return
        split: Any = trainer.datamodule.train  # type: ignore[attr-defined]
        longest = sorted(range(len(split)), key=lambda i: -int(split.lengths[i]))[: module.stage.batch_size]
        whole = int(sum(split.lengths[i] for i in longest))
        module.micro_batch_size.tokens = min(self.tokens or module.micro_batch_size.tokens, whole)
        with torch.random.fork_rng():
            module.try_out([split[i] for i in longest])
        out_of_memory.free_cache()
        module.micro_batch_size.found = True
        module.event("micro_batch", micro_batch_tokens=module.micro_batch_size.tokens)
