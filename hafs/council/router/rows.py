"""Routing files: labelled questions, and which of them are held out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hafs.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Row:
    """One labelled question."""

    question: str
    experts: frozenset[str]
    group: str
    """Rows of a group are never on both sides of a split."""


@cache
def read_rows(path: str) -> tuple[Row, ...]:
    """The rows of a routing file (`instruction`, `input`, `output`: names joined by commas).

    Raises:
        DataError: The file cannot be read, or a line is not a routing row.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        fact = f"the routing file {path!r} cannot be read: {error.strerror}"
        raise DataError(fact, hint="rows=FILE, with lines as in data/routing.jsonl") from error
    return tuple(_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip())


def _row(path: str, number: int, line: str) -> Row:
    try:
        found = json.loads(line)
        question = f"{found['instruction']}\n\n{found['input']}" if found.get("input") else found["instruction"]
        experts = frozenset(name.strip() for name in found["output"].split(","))
        return Row(question=question, experts=experts, group=found.get("split_group") or question)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} line {number} is not a routing row", hint='{"instruction": "...", "output": "asm,debug"}'
        ) from error


def dealt(rows: Sequence[Row], held_out: float, *, seed: int) -> tuple[list[Row], list[Row]]:
    """The rows to learn from and the rows held out: whole groups, as `dataset=routing` deals them to its splits."""
    import numpy as np

    from hafs.data.content import group_key, seeded

    keys = np.array([group_key(row.group) for row in rows], np.uint64)
    out = seeded(keys, seed) < held_out if len(rows) else []
    return [row for row, held in zip(rows, out, strict=True) if not held], [
        row for row, held in zip(rows, out, strict=True) if held
    ]
