"""The assembly sample: families of routines, repairs, explanations and sums, a few rows of each."""

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
from .row import FAMILIES, Row

__all__ = ["FAMILIES", "Row", "build", "records"]

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
        row = FAMILIES[name](dice)
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


def records(seed: int) -> list[dict[str, str]]:
    """The rows as they are written to the file."""
    return [{"instruction": row.instruction, "input": row.input, "output": row.output} for row in build(seed)]
