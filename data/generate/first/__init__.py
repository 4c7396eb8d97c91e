"""The first routines: one change of one value in memory. A family is an operation, an addressing form and a width.

Every operation, form and width occurs in many families, so a model that has learned them can write a family that it has
never seen. Families that are held out are such combinations.
"""

from collections.abc import Sequence
from typing import Any

from ..asm.cases import row_cases
from ..asm.row import Row, asm, le, x2, x4, x6
from ..dice import Dice
from ..emulate import Run
from .operations import OPERATIONS, Operation

ROWS_OF_A_FAMILY = 7
FORMS = ("dp", "abs", "long")
WIDTHS = (8, 16)
TRIES = 60
TESTED = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0xA5)
"""Bytes that a routine is tried with; a word has one of them in each half."""


def _place(d: Dice, form: str) -> tuple[int, str]:
    """An address for work RAM that the game leaves free, and its spelling."""
    if form == "dp":
        address = d.between(0x20, 0xE8) & ~1
        return address, x2(address)
    if form == "abs":
        address = d.between(0x0400, 0x1BF0) & ~1
        return address, x4(address)
    address = 0x7F0000 | d.between(0x0400, 0xF7F0) & ~1
    return address, x6(address)


def _row(d: Dice, operation: Operation, form: str, width: int) -> Row:
    """One routine: its request, its code, and what it does to several values."""
    (target, there), (source, here) = _place(d, form), _place(d, form)
    while source == target:
        source, here = _place(d, form)
    number, back = d.between(2, 250) | (d.between(1, 250) << 8 if width == 16 else 0), d.pick("rts", "rtl")
    mask = (1 << width) - 1
    spelled = x2(number) if width == 8 else x4(number)
    body = operation.code.format(t=there, s=here, n=spelled)
    code = asm(f"rep #$20 | {body} | sep #$20 | {back}" if width == 16 else f"{body} | {back}")
    thing = "byte" if width == 8 else "word"
    words = operation.words.format(t=there, s=here, n=spelled, thing=thing)
    size = width // 8
    runs = []
    for first, second in zip(TESTED, TESTED[1:] + TESTED[:1], strict=True):
        old, other = (first | second << 8) & mask, (second | first << 8) & mask
        result = operation.result(old, other, number) & mask
        given = {source: le(other, size)} if operation.two else {}
        runs.append(Run(mem={target: le(old, size), **given}, out={target: le(result, size), **given}))
    return Row(
        instruction=f"{words} Return with {back}.",
        output=f"```asm\n{code}\n```",
        code=code,
        runs=tuple(runs),
        family=f"{operation.name} {width} {form}",
    )


def build(seed: int) -> list[Row]:
    """All rows, shuffled."""
    rows, seen = [], set()
    for operation in OPERATIONS:
        for form in FORMS:
            for width in WIDTHS:
                d, made = Dice(f"first/{seed}/{operation.name}_{form}_{width}"), 0
                for _ in range(TRIES):
                    row = _row(d, operation, form, width)
                    if made < ROWS_OF_A_FAMILY and not {row.instruction, row.output} & seen:
                        seen |= {row.instruction, row.output}
                        rows.append(row)
                        made += 1
    return Dice(f"first/{seed}").shuffled(rows)


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of `first_routines.jsonl`."""
    return [
        {"instruction": row.instruction, "input": "", "output": row.output, "split_group": row.family} for row in rows
    ]


def case_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The lines of `first_routines.cases.jsonl`."""
    return [cases.as_json() for cases in row_cases(rows)]
