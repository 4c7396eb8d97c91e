"""Bits per byte: the loss in a unit that does not depend on the tokenizer, so unlike models can be compared."""

import math
from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class BitsPerByte(Metric):
    """Negative log likelihood of the answers, end tokens included, over the UTF-8 bytes of their text."""

    better = "lower"
    unit = "bits"

    def parts(self, said: Said) -> Parts | None:
        """Bits, and the bytes they are of."""
        return Parts(said.nats / math.log(2), said.bytes) if said.nats is not None and said.bytes else None
