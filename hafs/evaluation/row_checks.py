"""Decides for single rows whether each side's answer is right, where a metric can."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hafs.evaluation.metrics import Metric, Said

CHECKS = ("executes", "tool_calls_same", "repairs", "diagnosis", "assembles")
"""Metrics that decide whether one answer is right, the most informative first."""


class RowCheck(NamedTuple):
    """The verdict of one metric on one row."""

    name: str
    sides: tuple[bool, bool]
    """Whether the answer of the first side is right, and that of the second."""


def row_checks(metrics: Mapping[str, Metric], left: Sequence[Said], right: Sequence[Said]) -> list[RowCheck | None]:
    """For each row the verdict of the first metric of `CHECKS` that applies to it; None: none applies.

    Args:
        metrics: By name, prepared; without those that this machine cannot measure.
        left: One side.
        right: The other; the same rows in the same order.
    """
    usable = {name: metrics[name] for name in CHECKS if name in metrics}
    return [_check(usable, a, b) for a, b in zip(left, right, strict=True)]


def _check(metrics: Mapping[str, Metric], left: Said, right: Said) -> RowCheck | None:
    for name, metric in metrics.items():
        both = [metric.parts(side) for side in (left, right)]
        if all(both):
            return RowCheck(name, tuple(part.amount >= part.weight for part in both if part))  # type: ignore[arg-type]
    return None


def examples(checks: Sequence[RowCheck | None], answered: Sequence[int], count: int) -> list[int]:
    """Rows to show: of those with a verdict, one that the second side has right and one that it has wrong, by turns.

    Args:
        checks: Of every row.
        answered: Places of rows that both sides answered.
        count: How many to choose.
    """
    known = [(i, check) for i in answered if (check := checks[i])]
    right, wrong = ([i for i, check in known if check.sides[1] is flag] for flag in (True, False))
    turns = [i for pair in zip(right, wrong, strict=False) for i in pair]
    chosen = [*turns, *right[len(wrong) :], *wrong[len(right) :], *answered]
    return list(dict.fromkeys(chosen))[:count]
