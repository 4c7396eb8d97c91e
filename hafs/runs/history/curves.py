"""Reduces a million points to the columns of a screen, and keeps outliers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A drawn line: one entry per bucket of steps."""

    x: np.ndarray
    """Middle of each bucket, in steps."""
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def curve(x: np.ndarray, y: np.ndarray, buckets: int) -> Curve:
    """Mean, lowest and highest value of at most `buckets` equal buckets of points; NaN is skipped.

    Args:
        x: float64[N], rising.
        y: float64[N].
        buckets: Points that fit.
    """
    good = np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) <= buckets:
        return Curve(x=x, mean=y, low=y, high=y)
    edges = np.linspace(0, len(x), buckets + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, len(x)))
    return Curve(
        x=np.add.reduceat(x, edges) / sizes,
        mean=np.add.reduceat(y, edges) / sizes,
        low=np.minimum.reduceat(y, edges),
        high=np.maximum.reduceat(y, edges),
    )


def smoothed(y: np.ndarray, window: int) -> np.ndarray:
    """The mean of the last `window` values at each point, fewer at the beginning; NaN is skipped."""
    good = np.isfinite(y)
    sums, counts = np.cumsum(np.where(good, y, 0.0)), np.cumsum(good)
    sums[window:], counts[window:] = sums[window:] - sums[:-window], counts[window:] - counts[:-window]
    return np.divide(sums, counts, out=np.full(len(y), np.nan), where=counts > 0)


def smoothing_window(points: int) -> int:
    """A tenth of a short run, a fiftieth of a long one."""
    return max(1, min(points // 10, 10 + points // 50))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers inside an interval, at most `most`."""
    if not np.isfinite([low, high]).all() or high <= low:
        return [low] if np.isfinite(low) else []
    rough = (high - low) / max(1, most)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * n for n in (1, 2, 2.5, 5, 10, 20) if power * n >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(n * step) + 0.0 for n in np.arange(first, np.floor(high / step + 1e-9) + 1)][: most + 1]


def bounds(values: np.ndarray, *, zero: bool = False) -> tuple[float, float]:
    """An interval that holds the values with a little room; never empty."""
    good = values[np.isfinite(values)]
    if not len(good):
        return 0.0, 1.0
    low, high = float(good.min()), float(good.max())
    low = min(0.0, low) if zero else low
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (low if zero else low - room), high + room
