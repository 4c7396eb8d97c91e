"""What a plan counts of a model: its modules that hold parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CATALOGUE = Path(__file__).parent / "catalogue"
"""Shapes of models that people tune, counted once."""
Kind = Literal["linear", "tower", "experts", "embedding", "head", "norm"]
"""A tower is a linear layer beside the text decoder: quantized, never adapted, idle. Norms are also what else stays as
it is: sinks, states, gates that are no linear layers."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """Modules of one kind that hold parameters, the same in every decoder layer."""

    name: str
    """As in the net, the number of the decoder layer replaced by `*`."""
    kind: Kind
    weight: tuple[int, ...]
    """Its shape; linear layers: out, in; experts of a layer in one tensor: how many, then those two in either order."""
    bias: int
    """Elements of the bias, or 0."""
    times: int
    """How many there are."""
    lora: int = 0
    """Elements of an adapter for each rank, where PEFT's all-linear adapts it though it is no linear layer."""

    @property
    def elements(self) -> int:
        """Of one weight."""
        count = 1
        for size in self.weight:
            count *= size
        return count
