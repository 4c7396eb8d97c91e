"""What a configuration says of memory, and the terms that a plan adds up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hafs.planning.architecture import Architecture, Leaf


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What of a configuration decides about memory and time."""

    bits: Literal[4, 8] | None
    """Of the quantized linear layers; None: not quantized."""
    double: bool
    """Whether the scales are quantized too."""
    rank: int | None
    """Of the adapter; None: every weight is trained."""
    targets: str | tuple[str, ...]
    """The adapter's target modules, as PEFT takes them."""
    dora: bool
    dropout: float
    eight_bit_optimizer: bool
    checkpointing: bool
    embedding_on_cpu: bool
    product_bytes: Literal[2, 4]
    """Of the type that products are computed in."""
    device: Literal["cuda", "mps", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of the peak."""

    name: str
    bytes: int
    why: str


def total(parts: Sequence[Term]) -> int:
    """Bytes of all terms."""
    return sum(part.bytes for part in parts)


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What no formula gives: measured by `hafs plan calibrate`, else these."""

    context_bytes: int
    """Of the driver on a GPU; of the interpreter and its libraries on a CPU."""
    slack: float
    """What the allocator holds beyond what is asked for, as a share of everything that comes and goes."""
    source: str


def adapted(shapes: Architecture, setup: Setup) -> list[Leaf]:
    """The linear layers that get an adapter."""
    linear = shapes.of("linear")
    if setup.targets == "all-linear":
        return linear
    if isinstance(setup.targets, str):
        return [leaf for leaf in linear if re.fullmatch(setup.targets, leaf.name.replace("*", "0"))]
    return [leaf for leaf in linear if leaf.name.rsplit(".", 1)[-1] in setup.targets]


def trained_parameters(shapes: Architecture, setup: Setup) -> int:
    """How many parameters the optimizer changes."""
    if setup.rank is None:
        return shapes.parameters
    return sum(
        leaf.times * (setup.rank * sum(leaf.weight) + (leaf.weight[0] if setup.dora else 0))
        for leaf in adapted(shapes, setup)
    )
