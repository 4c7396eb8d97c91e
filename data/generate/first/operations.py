"""What a first routine may do to a value: the words of a request, the code, and the result."""

from collections.abc import Callable
from dataclasses import dataclass

Result = Callable[[int, int, int, int], int]
"""The new value, from the old one, the other place's value, the number in the request, and the mask of the width."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation.

    `{t}` is the place that changes, `{s}` the other place, `{n}` the number, `{ones}` all bits set, `{zero}` none.
    """

    name: str
    words: tuple[str, ...]
    code: str
    result: Result
    two: bool = False
    """Whether the request has another place."""


OPERATIONS = (
    Operation(
        name="set",
        words=("Set the {thing} at {t} to the number {n}.", "Store the number {n} in the {thing} at {t}."),
        code="lda #{n} | sta {t}",
        result=lambda old, other, n, ones: n,
    ),
    Operation(
        name="add",
        words=("Add the number {n} to the {thing} at {t}.", "Increase the {thing} at {t} by the number {n}."),
        code="lda {t} | clc | adc #{n} | sta {t}",
        result=lambda old, other, n, ones: old + n,
    ),
    Operation(
        name="subtract",
        words=("Subtract the number {n} from the {thing} at {t}.", "Decrease the {thing} at {t} by the number {n}."),
        code="lda {t} | sec | sbc #{n} | sta {t}",
        result=lambda old, other, n, ones: old - n,
    ),
    Operation(
        name="and",
        words=("AND the {thing} at {t} with the number {n}.", "Mask the {thing} at {t} with the number {n}."),
        code="lda {t} | and #{n} | sta {t}",
        result=lambda old, other, n, ones: old & n,
    ),
    Operation(
        name="or",
        words=("OR the {thing} at {t} with the number {n}.", "OR the number {n} into the {thing} at {t}."),
        code="lda {t} | ora #{n} | sta {t}",
        result=lambda old, other, n, ones: old | n,
    ),
    Operation(
        name="xor",
        words=("XOR the {thing} at {t} with the number {n}.", "XOR the number {n} into the {thing} at {t}."),
        code="lda {t} | eor #{n} | sta {t}",
        result=lambda old, other, n, ones: old ^ n,
    ),
    Operation(
        name="copy",
        words=("Copy the {thing} at {s} to {t}.", "Load the {thing} at {s} and store it at {t}."),
        code="lda {s} | sta {t}",
        result=lambda old, other, n, ones: other,
        two=True,
    ),
    Operation(
        name="sum",
        words=("Add the {thing} at {s} to the {thing} at {t}.", "Increase the {thing} at {t} by the {thing} at {s}."),
        code="lda {t} | clc | adc {s} | sta {t}",
        result=lambda old, other, n, ones: old + other,
        two=True,
    ),
    Operation(
        name="difference",
        words=(
            "Subtract the {thing} at {s} from the {thing} at {t}.",
            "Decrease the {thing} at {t} by the {thing} at {s}.",
        ),
        code="lda {t} | sec | sbc {s} | sta {t}",
        result=lambda old, other, n, ones: old - other,
        two=True,
    ),
    Operation(
        name="merge",
        words=("OR the {thing} at {t} with the {thing} at {s}.", "OR the {thing} at {s} into the {thing} at {t}."),
        code="lda {t} | ora {s} | sta {t}",
        result=lambda old, other, n, ones: old | other,
        two=True,
    ),
    Operation(
        name="double",
        words=("Double the {thing} at {t}.", "Shift the {thing} at {t} left once."),
        code="lda {t} | asl a | sta {t}",
        result=lambda old, other, n, ones: old << 1,
    ),
    Operation(
        name="halve",
        words=("Halve the unsigned {thing} at {t}.", "Shift the {thing} at {t} right once."),
        code="lda {t} | lsr a | sta {t}",
        result=lambda old, other, n, ones: old >> 1,
    ),
    Operation(
        name="quadruple",
        words=("Quadruple the {thing} at {t}.", "Shift the {thing} at {t} left twice."),
        code="lda {t} | asl a | asl a | sta {t}",
        result=lambda old, other, n, ones: old << 2,
    ),
    Operation(
        name="clear",
        words=("Clear the {thing} at {t}.", "Store zero in the {thing} at {t}."),
        code="lda #{zero} | sta {t}",
        result=lambda old, other, n, ones: 0,
    ),
    Operation(
        name="increment",
        words=("Increment the {thing} at {t}.", "Add one to the {thing} at {t}."),
        code="lda {t} | inc a | sta {t}",
        result=lambda old, other, n, ones: old + 1,
    ),
    Operation(
        name="decrement",
        words=("Decrement the {thing} at {t}.", "Subtract one from the {thing} at {t}."),
        code="lda {t} | dec a | sta {t}",
        result=lambda old, other, n, ones: old - 1,
    ),
    Operation(
        name="invert",
        words=("Invert all bits of the {thing} at {t}.", "Complement the {thing} at {t}."),
        code="lda {t} | eor #{ones} | sta {t}",
        result=lambda old, other, n, ones: old ^ ones,
    ),
    Operation(
        name="negate",
        words=("Negate the {thing} at {t}.", "Replace the {thing} at {t} by its negative."),
        code="lda {t} | eor #{ones} | inc a | sta {t}",
        result=lambda old, other, n, ones: -old,
    ),
)
