"""The assembly sample: families of routines, repairs, explanations and sums, a few rows of each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..dice import Dice
from . import (
    arithmetic,
    arrays,
    bugs,
    convert,
    counters,
    dispatch,
    explain,
    flow,
    game,
    hardware,
    hooks,
    inventory,
    memory,
    misuse,
    numbers,
    pixels,
    reckon,
    sprites,
    tables,
    transfers,
)
from .cases import missing, row_cases
from .row import FAMILIES, Row

__all__ = ["FAMILIES", "Row", "build", "case_records", "missing", "records"]

MODULES = (
    arithmetic,
    arrays,
    bugs,
    convert,
    counters,
    dispatch,
    explain,
    flow,
    game,
    hardware,
    hooks,
    inventory,
    memory,
    misuse,
    numbers,
    pixels,
    reckon,
    sprites,
    tables,
    transfers,
)
COUNT = 800
TRIES = 60


def _fresh(name: str, dice: Dice, seen: set[str]) -> Row | None:
    """A row of the family whose prompt and answer are both new, or None when chance finds none."""
    for _ in range(TRIES):
        row = replace(FAMILIES[name](dice), family=name)
        prompt = f"{row.instruction}\n{row.input}".lower()
        if prompt not in seen and row.output not in seen:
            seen.update((prompt, row.output))
            return row
    return None


def build(seed: int) -> list[Row]:
    """All rows, families in turn until there are enough, then shuffled."""
    names = sorted(FAMILIES)
    dice = {name: Dice(f"asm/{seed}/{name}") for name in names}
    order = Dice(f"asm/{seed}")
    seen: set[str] = set()
    rows: list[Row] = []
    while len(rows) < COUNT:
        for name in order.shuffled(names):
            row = _fresh(name, dice[name], seen) if len(rows) < COUNT else None
            if row:
                rows.append(row)
    return order.shuffled(rows)


def records(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The rows as they are written to the file: rows of one family are held out together."""
    return [
        {"instruction": row.instruction, "input": row.input, "output": row.output, "split_group": row.family}
        for row in rows
    ]


def case_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What their routines must do, as it is written to the file."""
    return [row.as_json() for row in row_cases(rows)]
