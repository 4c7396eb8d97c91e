"""What a first routine may do to a value: the words of a request, the code, and the result."""

from collections.abc import Callable
from dataclasses import dataclass

Result = Callable[[int, int, int], int]
"""The new value, from the old one, the other place's value, and the number in the request."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation.

    `{t}` is the place that changes, `{s}` the other place, `{n}` the number.
    """

    name: str
    words: str
    code: str
    result: Result
    two: bool = False
    """Whether the request has another place."""


OPERATIONS = (
    Operation(
        name="store",
        words="Store the number {n} in the {thing} at {t}.",
        code="lda #{n} | sta {t}",
        result=lambda old, other, n: n,
    ),
    Operation(
        name="add",
        words="Add the number {n} to the {thing} at {t}.",
        code="lda {t} | clc | adc #{n} | sta {t}",
        result=lambda old, other, n: old + n,
    ),
    Operation(
        name="subtract",
        words="Subtract the number {n} from the {thing} at {t}.",
        code="lda {t} | sec | sbc #{n} | sta {t}",
        result=lambda old, other, n: old - n,
    ),
    Operation(
        name="and",
        words="AND the {thing} at {t} with the number {n}.",
        code="lda {t} | and #{n} | sta {t}",
        result=lambda old, other, n: old & n,
    ),
    Operation(
        name="or",
        words="OR the {thing} at {t} with the number {n}.",
        code="lda {t} | ora #{n} | sta {t}",
        result=lambda old, other, n: old | n,
    ),
    Operation(
        name="xor",
        words="XOR the {thing} at {t} with the number {n}.",
        code="lda {t} | eor #{n} | sta {t}",
        result=lambda old, other, n: old ^ n,
    ),
    Operation(
        name="copy",
        words="Copy the {thing} at {s} to {t}.",
        code="lda {s} | sta {t}",
        result=lambda old, other, n: other,
        two=True,
    ),
    Operation(
        name="double",
        words="Double the {thing} at {t}.",
        code="lda {t} | asl a | sta {t}",
        result=lambda old, other, n: old << 1,
    ),
)
