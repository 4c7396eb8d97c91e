"""A stage of training: how many samples, how often, and at which learning rate.

Everything here is a pure function of the stage and the seed, which is what lets a run continue exactly.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from hafs.core.errors import ConfigError
from hafs.training.preference import Preference

if TYPE_CHECKING:
    from hafs.data.parts import PairSplit, SplitPart
    from hafs.data.samples import Split

Positive = Annotated[int, Field(gt=0)]
SMALL = 10
"""Steps below which a stage is called too small."""
WANTED, MOST_EPOCHS = 60, 10
"""Steps that a small dataset is repeated for, and the limit of that. The best epoch is kept (`best_epoch.py`)."""
RATES = ((1_000_000_000, 1e-3), (20_000_000_000, 2e-4))
"""Peak rates of LoRA by parameters of the base: below 1 B as in the shipped sample; 2e-4 up to 13 B and 1e-4 above are
those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314, table 9)."""


class StageRows:
    """What a stage trains on; the same whether its epochs and rate are already chosen or not."""

    name: str
    rows: Literal["all", "original", "verified"]
    preference: Preference | None

    def rows_of(self, split: "Split") -> "Split | SplitPart | PairSplit":
        """What the stage trains on: samples of a split, or its pairs."""
        from hafs.data.parts import PairSplit, part_of

        return part_of(split, self.rows) if self.preference is None else PairSplit(split)

    def empty(self, dataset: str) -> ConfigError:
        """The error message if a dataset has no rows for this stage."""
        if self.preference is not None:
            fact = f"stage {self.name!r} compares two answers, and {dataset!r} has no pairs of them"
            return ConfigError(fact, hint="rows need prompt, chosen and rejected: docs/how-to/preference.md")
        fact = f"stage {self.name!r} trains on {self.rows} rows, and {dataset!r} has none of them"
        return ConfigError(
            fact, hint="hafs sample makes verified ones: dataset=verified" if self.rows == "verified" else "rows=all"
        )


@dataclass(frozen=True, kw_only=True)
class Stage(StageRows):
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
    warmup_steps: Annotated[int, Field(ge=0)] | None
    """Steps in which the learning rate rises from zero; None: a tenth of the stage's."""
    validation: Literal["end", "epoch"]
    """Measure the held-out loss at the stage's end, or after each epoch."""
    rows: Literal["all", "original", "verified"]
    """All rows, those that `hafs sample` did not make, or those alone that it kept."""
    preference: Preference | None
    """The loss over pairs of answers; None: cross entropy of the answers."""

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

    def fit(self, available: int, parameters: int | None) -> "Stage | None":
        """The stage itself: its values are given. `FittedStage` chooses them."""
        return self

    def told(self, available: int, *, held_out: bool = True) -> str:
        """A description of the stage in one line."""
        steps = self.steps(available)
        small = f"; {steps} steps are too few to change much" if steps < SMALL else ""
        return (
            f"{self.name}: {self.drawn(available)} {self.unit} x {self.epochs}, {steps} steps of {self.batch_size}, "
            f"rate {self.lr:g} ({self.schedule}, warm-up {self.warmup(steps)} steps), "
            f"{self.measurements if held_out else 0} x validated{small}"
        )

    def warmup(self, steps: int) -> int:
        """Steps of the warm-up, of all the stage's steps."""
        return min(-(-steps // 10) if self.warmup_steps is None else self.warmup_steps, steps)

    @property
    def measurements(self) -> int:
        """How often the held-out loss is measured."""
        return self.epochs if self.validation == "epoch" else 1

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
            "measurements": self.measurements,
        }


@dataclass(frozen=True, kw_only=True)
class FittedStage(StageRows):
    """A stage whose epochs and rate are chosen by the size of the data and of the model; a number is kept as it is."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.\-]*$", max_length=60)]
    samples: Positive | None
    epochs: Positive | Literal["auto"]
    lr: Annotated[float, Field(gt=0, le=1)] | Literal["auto"]
    batch_size: Positive
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)] | None
    validation: Literal["end", "epoch"]
    rows: Literal["all", "original", "verified"]
    preference: Preference | None
    share: Annotated[float, Field(gt=0, le=1)]
    """Of the model's rate."""
    fewest_steps: Annotated[int, Field(ge=0)]
    """A stage of fewer steps is left out."""

    def fit(self, available: int, parameters: int | None) -> Stage | None:
        """The stage for this much data; None if it would be too small.

        Args:
            available: Samples in the training split.
            parameters: Of the base model; None: unknown.
        """
        whole = RATES[1][1] if parameters is None else next((r for size, r in RATES if parameters < size), 1e-4)
        per_epoch = -(-min(self.samples or available, available) // self.batch_size)
        repeated = min(MOST_EPOCHS, max(2, -(-WANTED // max(1, per_epoch))))
        epochs = repeated if self.epochs == "auto" else self.epochs
        stage = Stage(
            name=self.name, samples=self.samples, epochs=epochs,
            lr=whole * self.share if self.lr == "auto" else self.lr, batch_size=self.batch_size,
            schedule=self.schedule, warmup_steps=self.warmup_steps, validation=self.validation,
            rows=self.rows, preference=self.preference,
        )  # fmt: skip
        return stage if stage.steps(available) >= self.fewest_steps else None

    def why(self, available: int, parameters: int | None) -> str:
        """The chosen values, and the reasons."""
        stage = self.fit(available, parameters)
        if stage is None:
            return f"{self.name} left out: fewer than {self.fewest_steps} steps with {available} training samples"
        size = "a model of unknown size" if parameters is None else f"{parameters / 1e9:.2g} B parameters"
        chosen = [f"{stage.epochs} epochs for {available} training samples"] if self.epochs == "auto" else []
        chosen += [f"rate {stage.lr:g} for {size}"] if self.lr == "auto" else []
        return f"{self.name}: {', '.join(chosen)}" if chosen else ""


def fitted(
    stages: Sequence[Stage | FittedStage],
    available: int,
    parameters: int | None,
    *,
    before: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> tuple[list[Stage], list[str]]:
    """The stages of a run for this much data, and a line for each that was chosen or left out.

    Args:
        stages: As configured.
        available: Samples in the training split.
        parameters: Of the base model; None: unknown.
        before: What `choices` gave when the run began. It counts, whatever the data have become.
    """
    stages, before = [_as_chosen(each, before or {}) for each in stages], before or {}
    stages = [each for each in stages if before.get(each.name, True) is not None]
    if all(each.fit(available, parameters) is None for each in stages):  # a run of small stages alone leaves none out
        stages = [replace(each, fewest_steps=0) if isinstance(each, FittedStage) else each for each in stages]
    kept = [stage for each in stages if (stage := each.fit(available, parameters)) is not None]
    lines = [each.why(available, parameters) for each in stages if isinstance(each, FittedStage)]
    return kept, [f"chosen     {line}" for line in lines if line]


def choices(configured: Sequence[Stage | FittedStage], kept: Sequence[Stage]) -> dict[str, dict[str, Any] | None]:
    """By stage whose values are chosen by size: its epochs and rate, or None for one that is left out."""
    found = {stage.name: {"epochs": stage.epochs, "lr": stage.lr} for stage in kept}
    return {each.name: found.get(each.name) for each in configured if isinstance(each, FittedStage)}


def _as_chosen(stage: Stage | FittedStage, before: Mapping[str, Mapping[str, Any] | None]) -> Stage | FittedStage:
    """The stage with the values that were chosen when the run began."""
    chosen = before.get(stage.name)
    if not isinstance(stage, FittedStage) or chosen is None:
        return stage
    epochs = chosen["epochs"] if stage.epochs == "auto" else stage.epochs
    return replace(stage, epochs=epochs, lr=chosen["lr"] if stage.lr == "auto" else stage.lr, fewest_steps=0)


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
    warmup = stage.warmup(steps)
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
