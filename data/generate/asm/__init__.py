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
from .asar import asar_row
from .cases import key_of, missing, prompt_of, row_cases
from .row import FAMILIES, Row, answer
from .scene import scene_rows

__all__ = ["FAMILIES", "Row", "asar_records", "build", "case_records", "missing", "records"]

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


def asar_records(rows: Sequence[Row], seed: int) -> list[dict[str, str]]:
    """The rows in asar's dialect, and rows with idioms of its users."""
    scenes = [
        {
            "instruction": task.prompt, "input": "", "output": answer(task.answer, why), "split_group": task.family,
            "syntax": "asar",
        }
        for task, why in scene_rows(seed)
    ]  # fmt: skip
    return [row | {"syntax": "asar"} for row in records([asar_row(row) for row in rows])] + scenes


def case_records(rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    """What the routines of both editions must do, as it is written to the file.

    A row whose prompt shows code has another prompt in the other edition, and a line for each.
    """
    found = row_cases(rows)
    again = {key_of(prompt_of(row)): key_of(prompt_of(asar_row(row))) for row in rows}
    lines = [row.as_json() for row in found]
    lines += [line | {"key": again[line["key"]]} for line in lines if again[line["key"]] != line["key"]]
    return lines + [{"key": key_of(task.prompt)} | task.as_json() for task, _ in scene_rows(seed)]
