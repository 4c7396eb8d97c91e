"""The data of a stage's Trainer: the steps of an epoch in order, and the held-out split."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import pytorch_lightning as pl
from torch.utils.data import ConcatDataset, DataLoader

from hafs.data.parts import PairSplit, SplitPart
from hafs.data.samples import Split
from hafs.training.stage import Stage, order

Rows: TypeAlias = Split | SplitPart | PairSplit


class StageData(pl.LightningDataModule):
    """The batches of one stage; a batch is the list of samples of one optimizer step.

    Args:
        stage: The stage.
        train: The training split, or its pairs.
        held_out: The validation split.
        pairs: The pairs of the validation split, if the stage measures them.
        seed: The run's seed.
        epoch: The first epoch, from zero.
        done: Number of samples of that epoch that are already done.
        num_workers: Worker processes that read ahead.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        train: Rows,
        held_out: Split,
        pairs: PairSplit | None = None,
        seed: int,
        epoch: int = 0,
        done: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.stage, self.train, self.held_out, self.pairs, self.seed = stage, train, held_out, pairs, seed
        self.epoch, self.done, self.num_workers = epoch, done, num_workers

    def train_dataloader(self) -> DataLoader[Any]:
        """The remaining steps of the next epoch. Lightning calls this once per epoch."""
        run_here = self.trainer.current_epoch if self.trainer else 0
        ids = order(self.stage, available=len(self.train), seed=self.seed, epoch=self.epoch + run_here)
        steps = _chunks(ids[0 if run_here else self.done :], self.stage.batch_size)
        return _loader(self.train, steps, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """The whole held-out split, then its pairs."""
        return held_out_loader(self.held_out, self.pairs)


def held_out_loader(split: Split, pairs: PairSplit | None = None) -> DataLoader[Any]:
    """A whole split in its own order, some samples at a time; then pairs, which never share a batch with samples."""
    if pairs is None or not len(pairs):
        return _loader(split, _chunks(range(len(split)), 32))
    both = len(split) + len(pairs)
    return _loader(ConcatDataset([split, pairs]), _chunks(range(len(split)), 32) + _chunks(range(len(split), both), 16))


def _chunks(ids: Sequence[int], size: int) -> list[list[int]]:
    return [list(ids[first : first + size]) for first in range(0, len(ids), size)]


def _loader(split: Any, steps: Sequence[list[int]], *, num_workers: int = 0) -> DataLoader[Any]:
    return DataLoader(split, batch_sampler=_Given(steps), collate_fn=list, num_workers=num_workers)


class _Given:
    """A batch sampler with fixed batches."""

    def __init__(self, steps: Sequence[list[int]]) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.steps)
