"""One step on several devices: packed sequences are distributed, gradients and losses are summed once.

Every device packs the same samples into the same sequences, so each knows the tokens of the whole step.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy

from hafs.modeling.loss import TokenLoss
from hafs.modeling.packing import PackedSequence


class Devices:
    """How a step uses the Trainer's strategy.

    Args:
        trainer: Lightning's.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        self.world, self.rank = trainer.world_size, trainer.global_rank
        self.strategy: Any = trainer.strategy
        self.replicated = isinstance(trainer.strategy, DDPStrategy)
        self.sharded = isinstance(trainer.strategy, FSDPStrategy)

    def share(self, rows: Sequence[PackedSequence]) -> list[tuple[PackedSequence, int]]:
        """This device's packed sequences with weight 1, padded with weight 0 to the same number everywhere."""
        padded = [(packed, 1) for packed in rows] + [(rows[0], 0)] * (-len(rows) % self.world)
        return padded[self.rank :: self.world]

    def local_gradients(self) -> AbstractContextManager[Any]:
        """A context without DDP's averaging after each backward; `sum_gradients` sums once at the step's end."""
        return self.strategy.model.no_sync() if self.replicated else nullcontext()

    def gradient_scale(self) -> int:
        """Factor for the loss: FSDP averages over devices, and hafs needs the sum."""
        return self.world if self.sharded else 1

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients over all devices."""
        if self.replicated:
            for parameter in parameters:
                torch.distributed.all_reduce(parameter.grad)

    def summed(self, loss: TokenLoss) -> TokenLoss:
        """A loss summed over all devices."""
        if self.world == 1:
            return loss
        return TokenLoss(*(self.strategy.reduce(part, reduce_op="sum") for part in loss))

    def anywhere(self, here: bool) -> bool:
        """Whether a condition holds on any device."""
        if self.world == 1:
            return here
        flag = torch.tensor(float(here), device=self.strategy.root_device)
        return bool(self.strategy.reduce(flag, reduce_op="sum"))

    def barrier(self) -> None:
        """Wait until every device reaches this call."""
        self.strategy.barrier()

    def clipped_norm(self, parameters: Iterable[torch.nn.Parameter], limit: float | None) -> float:
        """The norm of all gradients before clipping. Gradients above the limit are scaled down to it."""
        limit = math.inf if limit is None else limit
        if self.sharded:
            return float(self.strategy.model.clip_grad_norm_(limit))
        return float(torch.nn.utils.clip_grad_norm_(list(parameters), limit))
