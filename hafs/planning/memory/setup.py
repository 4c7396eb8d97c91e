"""The part of a configuration that determines memory, and the terms that a plan adds up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hafs.planning.architecture import Architecture
from hafs.planning.leaf import Leaf


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The part of a configuration that determines memory and time."""

    bits: Literal[4, 8] | None
    """Bits of the quantized linear layers; None: not quantized."""
    double: bool
    """Whether the scales are quantized too."""
    quantized_experts: bool = False
    """Whether experts that a layer holds in one tensor are quantized too."""
    rank: int | None
    """Rank of the adapter; None: all weights are trained."""
    targets: str | tuple[str, ...]
    """The adapter's target modules, as PEFT takes them."""
    target_parameters: tuple[str, ...] = ()
    """Tensors of experts that the adapter names, as PEFT takes them."""
    dora: bool
    dropout: float
    eight_bit_optimizer: bool
    checkpointing: bool
    embedding_on_cpu: bool
    product_bytes: Literal[2, 4]
    """Bytes of the type of matrix products."""
    device: Literal["cuda", "mps", "cpu"]
    flash: bool = True
    """Whether a GPU has FlashAttention; without it keys and values are repeated for each query head."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of the peak memory."""

    name: str
    bytes: int
    why: str


def total(parts: Sequence[Term]) -> int:
    """Bytes of all terms."""
    return sum(part.bytes for part in parts)


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Constants without a formula, measured by `hafs plan calibrate`; these are the defaults."""

    context_bytes: int
    """Memory of the driver on a GPU, or of Python and its libraries on a CPU."""
    slack: float
    """Memory that the allocator reserves in addition, as a share of the transient memory."""
    source: str


def adapted(shapes: Architecture, setup: Setup) -> list[Leaf]:
    """The linear layers that get an adapter."""
    linear = shapes.of("linear")
    if setup.targets == "all-linear":
        return linear
    if isinstance(setup.targets, str):
        return [leaf for leaf in linear if re.fullmatch(setup.targets, leaf.name.replace("*", "0"))]
    return [leaf for leaf in linear if leaf.name.rsplit(".", 1)[-1] in setup.targets]


def adapted_experts(shapes: Architecture, setup: Setup) -> list[tuple[Leaf, int]]:
    """Experts and routers that get an adapter though they are no linear layers, and its elements for each rank.

    PEFT's all-linear reaches those of some types (`Leaf.lora`), and no quantized ones.
    """
    found = []
    for leaf in shapes.leaves if setup.rank is not None else ():
        plain = leaf.name.replace("*", "0")
        named = any(plain == target or plain.endswith(f".{target}") for target in setup.target_parameters)
        if named and len(leaf.weight) == 3:
            found.append((leaf, leaf.lora or leaf.weight[0] * sum(leaf.weight[1:])))
        elif setup.targets == "all-linear" and leaf.lora and not (setup.quantized_experts and leaf.kind == "experts"):
            found.append((leaf, leaf.lora))
    return found


def trained_parameters(shapes: Architecture, setup: Setup) -> int:
    """The number of trained parameters."""
    if setup.rank is None:
        return shapes.parameters
    linear = sum(
        leaf.times * (setup.rank * sum(leaf.weight) + (leaf.weight[0] if setup.dora else 0))
        for leaf in adapted(shapes, setup)
    )
    return linear + setup.rank * sum(leaf.times * elements for leaf, elements in adapted_experts(shapes, setup))
