"""Computes figures with intervals from two models' results on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hafs.data.enough import too_few
from hafs.evaluation.groups import numbered
from hafs.evaluation.intervals import Compared, Sides, compare
from hafs.evaluation.metrics import Better, Metric, Said
from hafs.runs.evaluation_record import Figure


def figures(
    metrics: Mapping[str, Metric], base: Sequence[Said], tuned: Sequence[Said], *, draws: int, seed: int
) -> tuple[dict[str, Figure], dict[str, str]]:
    """Every metric that applies to any row.

    Args:
        metrics: By name.
        base: One side.
        tuned: The other; the same rows in the same order.
        draws: Resamples for the intervals.
        seed: Of the resamples.

    Returns:
        The figures, and why metrics could not be measured on this machine.
    """
    found, skipped = {}, {}
    for name, metric in metrics.items():
        if why := metric.missing():
            skipped[name] = why
            continue
        metric.prepare([*base, *tuned])
        both = [i for i, (a, b) in enumerate(zip(base, tuned, strict=True)) if _apply(metric, a, b)]
        if both:
            groups_N = numbered([base[i] for i in both])
            sides = _sides(metric, [base[i] for i in both], [tuned[i] for i in both])
            compared = compare(sides, metric.value, draws=draws, seed=seed, groups_N=groups_N, sure=not metric.once)
            found[name] = figure(
                compared, rows=len(both), groups=int(groups_N.max()) + 1, better=metric.better, unit=metric.unit,
                once=metric.once,
            )  # fmt: skip
    return found, skipped


@dataclass(frozen=True)
class Alone:
    """One metric of one side."""

    value: float
    rows: int
    """Rows that it applies to."""
    unit: str


def alone(metric: Metric, said: Sequence[Said]) -> Alone | None:
    """The figure of one side by itself; None where the metric applies to no row."""
    metric.prepare(said)
    parts = [found for row in said if (found := metric.parts(row)) is not None]
    if not parts:
        return None
    amount, weight = np.array(parts, np.float64).sum(0)
    return Alone(float(metric.value(amount, weight)), len(parts), metric.unit)


def _apply(metric: Metric, base: Said, tuned: Said) -> bool:
    return metric.parts(base) is not None and metric.parts(tuned) is not None


def _sides(metric: Metric, base: Sequence[Said], tuned: Sequence[Said]) -> Sides:
    """Amounts and weights of rows that the metric applies to on both sides."""
    both = [(*(metric.parts(a) or ()), *(metric.parts(b) or ())) for a, b in zip(base, tuned, strict=True)]
    return Sides(*np.array(both, np.float64).reshape(-1, 4).T)


def figure(compared: Compared, *, rows: int, groups: int, better: Better, unit: str, once: bool = False) -> Figure:
    """The record of a comparison.

    Args:
        compared: What was found.
        rows: That were compared.
        groups: Of prompts, that they belong to.
        better: Which direction is good.
        unit: In words.
        once: Whether all rows were measured together.
    """
    difference, ratio = compared.difference, compared.ratio
    return Figure(
        base=compared.base,
        tuned=compared.tuned,
        difference=difference.figure,
        low=difference.low,
        high=difference.high,
        ratio=ratio and ratio.figure,
        ratio_low=ratio and ratio.low,
        ratio_high=ratio and ratio.high,
        rows=rows,
        groups=groups,
        unsure=too_few(rows, groups) or ("measured once: no interval" if once else ""),
        better=better,
        unit=unit,
    )
