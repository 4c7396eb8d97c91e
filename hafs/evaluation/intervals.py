"""Confidence intervals of differences: a paired bootstrap over groups of rows, the same for all metrics.

Rows of one prompt succeed or fail together, so groups of rows are drawn, not rows (the cluster bootstrap; Cameron,
Gelbach and Miller 2008). Groups are drawn with replacement, the same draw for both sides, and the figure is computed
for each draw (Efron 1979; Koehn 2004 for paired comparisons of language systems). Plain percentiles are too narrow for
few groups; their levels are widened so that the interval of a mean has the width of Student's (Hesterberg 2015,
"expanded percentile").

Legend: `N` rows, `G` groups, `R` draws.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from hafs.data.enough import too_few

_CHUNK = 4_000_000  # counts in memory per chunk

Value = Callable[[Any, Any], Any]


class Sides(NamedTuple):
    """Amounts and weights of the same rows under two models, float64[N]."""

    base: np.ndarray
    base_weight: np.ndarray
    tuned: np.ndarray
    tuned_weight: np.ndarray


class Interval(NamedTuple):
    """A figure and its 95 % confidence interval; None: too few rows or prompts."""

    figure: float
    low: float | None
    high: float | None


class Compared(NamedTuple):
    """Both figures, their difference and their ratio (None where the base is 0)."""

    base: float
    tuned: float
    difference: Interval
    ratio: Interval | None


def compare(
    sides: Sides, value: Value, *, draws: int, seed: int, groups_N: np.ndarray | None = None, sure: bool = True
) -> Compared:
    """Both figures of one metric, with intervals of difference and ratio.

    Args:
        sides: The rows that the metric applies to on both sides; at least one.
        value: The figure for summed amounts and weights.
        draws: How many resamples.
        seed: Of the draws; metrics over the same groups share them.
        groups_N: int[N], rows that belong together share a number from 0 on; None: each row stands for itself.
        sure: Whether an interval is wanted; without one, or with too few rows or groups, its ends are None.
    """
    base = float(value(sides.base.sum(), sides.base_weight.sum()))
    tuned = float(value(sides.tuned.sum(), sides.tuned_weight.sum()))
    rows = len(sides.base)
    groups_N = np.arange(rows) if groups_N is None else groups_N
    groups = int(groups_N.max()) + 1
    if not sure or too_few(rows, groups):
        ratio = Interval(tuned / base, None, None) if base else None
        return Compared(base, tuned, Interval(tuned - base, None, None), ratio)
    base_R, tuned_R = _resampled(_summed(sides, groups_N, groups), value, draws, seed)
    levels = levels_of(groups)
    difference = Interval(tuned - base, *_ends(tuned_R - base_R, levels))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios_R = tuned_R / base_R
    finite = bool(base) and bool(np.isfinite(ratios_R).any())
    ratio = Interval(tuned / base, *_ends(ratios_R, levels)) if finite else None
    return Compared(base, tuned, difference, ratio)


def _summed(sides: Sides, groups_N: np.ndarray, groups: int) -> np.ndarray:
    """Amounts and weights of each group, float64[G, 4]."""
    return np.stack([np.bincount(groups_N, weights=column_N, minlength=groups) for column_N in sides], axis=1)


def _resampled(sums_G4: np.ndarray, value: Value, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    groups, generator = len(sums_G4), np.random.default_rng(seed)
    found = []
    for first in range(0, draws, step := max(1, _CHUNK // groups)):
        counts_RG = generator.multinomial(groups, np.full(groups, 1 / groups), size=min(step, draws - first))
        found.append(counts_RG @ sums_G4)
    sums_R4 = np.concatenate(found)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may hold no row with weight; it is left out
        return value(sums_R4[:, 0], sums_R4[:, 1]), value(sums_R4[:, 2], sums_R4[:, 3])


def _ends(draws_R: np.ndarray, levels: tuple[float, float]) -> tuple[float, float]:
    low, high = np.quantile(draws_R[np.isfinite(draws_R)], levels)
    return float(low), float(high)


def levels_of(groups: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two quantiles of the draws to take for an interval over so many groups."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low = NormalDist().cdf(-_student(z, groups - 1) * math.sqrt(groups / (groups - 1)))
    return low, 1 - low


def _student(z: float, freedom: int) -> float:
    """Student's quantile from the normal one (Cornish and Fisher's expansion; within 0.002 from 4 degrees on)."""
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third
