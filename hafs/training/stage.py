"""A stage of training: how many samples, how often, and at which learning rate.

Everything here is a pure function of the stage and the seed, which is what lets a run continue exactly.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from hafs.training.preference import Preference

if TYPE_CHECKING:
    from hafs.data.samples import PairSplit, Split

Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One named part of a run; the next one starts from its adapter."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.\-]*$", max_length=60)]
    """As in `stage=`."""
    samples: Positive | None
    """Samples of an epoch, drawn once from the training split; None: all."""
    epochs: Positive
    """Times the samples are seen."""
    lr: Annotated[float, Field(gt=0, le=1)]
    """Peak learning rate."""
    batch_size: Positive
    """Samples of one optimizer step, over all devices and micro-batches."""
    schedule: Literal["constant", "linear", "cosine"]
    """Learning rate after the warm-up: constant, linear to zero, or half a cosine to zero."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Steps in which the learning rate rises from zero."""
    validation: Literal["end", "epoch"]
    """Measure the held-out loss at the stage's end, or after each epoch."""
    preference: Preference | None
    """The loss over pairs of answers; None: cross entropy of the answers."""

    def rows_of(self, split: "Split") -> "Split | PairSplit":
        """What the stage trains on: the samples of a split, or its pairs."""
        return split if self.preference is None else split.pairs()

    @property
    def unit(self) -> str:
        """What the stage counts: samples, or pairs."""
        return "samples" if self.preference is None else "pairs"

    @property
    def needs_reference(self) -> bool:
        """Whether each step also runs the model as the stage started, forward only."""
        return self.preference is not None and self.preference.needs_reference

    @property
    def decides(self) -> str:
        """The held-out figure that decides about epochs and whether the stage is kept; lower is better."""
        return "preference_loss" if self.needs_reference else "loss"

    def drawn(self, available: int) -> int:
        """Samples of one epoch."""
        return min(self.samples or available, available)

    def steps_per_epoch(self, available: int) -> int:
        """Optimizer steps of one epoch; the last may be short."""
        return -(-self.drawn(available) // self.batch_size)

    def steps(self, available: int) -> int:
        """Optimizer steps of the stage."""
        return self.steps_per_epoch(available) * self.epochs

    def plan(self, available: int) -> dict[str, Any]:
        """The stage's plan as plain values."""
        return {
            "name": self.name,
            "epochs": self.epochs,
            "steps": self.steps(available),
            "samples": self.drawn(available),
            "batch_size": self.batch_size,
            "lr": self.lr,
            "schedule": self.schedule,
            "measurements": self.epochs if self.validation == "epoch" else 1,
        }


def key(*parts: object) -> int:
    """A 48-bit seed from anything that names a place in a run."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


def order(stage: Stage, *, available: int, seed: int, epoch: int) -> list[int]:
    """The order in which an epoch sees the training split: every epoch has the same samples, in a new order.

    Args:
        stage: The stage.
        available: Samples in the training split.
        seed: The run's seed.
        epoch: Counted from zero.
    """
    import torch

    rng = torch.Generator()
    drawn = torch.randperm(available, generator=rng.manual_seed(key(seed, stage.name, "draw")))
    drawn = drawn[: stage.drawn(available)]
    shuffle = torch.randperm(len(drawn), generator=rng.manual_seed(key(seed, stage.name, "order", epoch)))
    return drawn[shuffle].tolist()


def learning_rate(stage: Stage, *, step: int, steps: int) -> float:
    """The learning rate of one step.

    Args:
        stage: Gives peak rate, schedule and warm-up.
        step: Counted from zero over the whole stage.
        steps: Number of steps of the whole stage.
    """
    warmup = min(stage.warmup_steps, steps)
    if step < warmup:
        return stage.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    match stage.schedule:
        case "constant":
            return stage.lr
        case "linear":
            return stage.lr * (1 - done)
        case "cosine":
            return stage.lr * 0.5 * (1 + math.cos(math.pi * done))
