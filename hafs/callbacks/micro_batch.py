"""Finds how many tokens of a step fit in memory at once, before step 1."""

from typing import Any, Literal

import pytorch_lightning as pl
import torch

from hafs import oom
from hafs.dataset.samples import Sample


class MicroBatch(pl.Callback):
    """Tries the longest samples for real, an evaluation step included; halves until they fit.

    During the run the module halves again if memory runs out after all, with the same samples.

    Args:
        probe: Whether to try; auto: on a GPU, where memory is the limit.
    """

    def __init__(self, *, probe: bool | Literal["auto"]) -> None:
        self.probe = probe

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Probe, leaving parameters, gradients and random numbers as they were."""
        if not (module.on_gpu if self.probe == "auto" else self.probe):
            return
        split, size = trainer.datamodule.train, module.stage.batch_size
        longest = sorted(range(len(split)), key=lambda i: -int(split.lengths[i]))[:size]
        samples: list[Sample] = [split[i] for i in longest]
        with torch.random.fork_rng():
            module.try_out(samples)
        oom.free_cache()
        module.event("micro_batch", row_tokens=module.row_tokens)
