"""One step on several devices: its rows are shared out, its gradients and sums are added up once.

Every device packs the same samples into the same rows, so all of them know the tokens of the whole step without asking.
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
    """What a Trainer's strategy means for a step.

    Args:
        trainer: Lightning's.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        self.world, self.rank = trainer.world_size, trainer.global_rank
        self.strategy: Any = trainer.strategy
        self.replicated = isinstance(trainer.strategy, DDPStrategy)
        self.sharded = isinstance(trainer.strategy, FSDPStrategy)

    def share(self, rows: Sequence[PackedSequence]) -> list[tuple[PackedSequence, int]]:
        """This device's rows, each with weight 1; filled up with rows of weight 0, so that all devices do as many."""
        padded = [(packed, 1) for packed in rows] + [(rows[0], 0)] * (-len(rows) % self.world)
        return padded[self.rank :: self.world]

    def local_gradients(self) -> AbstractContextManager[Any]:
        """While entered, DDP does not average after each backward; `sum_gradients` adds up once, at the step's end."""
        return self.strategy.model.no_sync() if self.replicated else nullcontext()

    def gradient_scale(self) -> int:
        """What a loss is multiplied with: FSDP averages over devices by itself, where a sum is meant."""
        return self.world if self.sharded else 1

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add the gradients of all devices up."""
        if self.replicated:
            for parameter in parameters:
                torch.distributed.all_reduce(parameter.grad)

    def summed(self, loss: TokenLoss) -> TokenLoss:
        """A loss over the rows of all devices."""
        if self.world == 1:
            return loss
        return TokenLoss(*(self.strategy.reduce(part, reduce_op="sum") for part in loss))

    def anywhere(self, here: bool) -> bool:
        """Whether something holds on any device."""
        if self.world == 1:
            return here
        flag = torch.tensor(float(here), device=self.strategy.root_device)
        return bool(self.strategy.reduce(flag, reduce_op="sum"))

    def barrier(self) -> None:
        """Wait until every device is here."""
        self.strategy.barrier()

    def clipped_norm(self, parameters: Iterable[torch.nn.Parameter], limit: float | None) -> float:
        """The norm of all gradients; above the limit they are scaled down to it."""
        limit = math.inf if limit is None else limit
        if self.sharded:
            return float(self.strategy.model.clip_grad_norm_(limit))
        return float(torch.nn.utils.clip_grad_norm_(list(parameters), limit))
