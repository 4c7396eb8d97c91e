"""The charts of a run for terminal, web page and report, by the names that loggers use."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hafs.runs.history.curves import bounds, curve, smoothed, smoothing_window
from hafs.runs.history.run_history import RunHistory
from hafs.runs.history.wording import number, size

BUSY_PERCENT = 90
"""Below this utilization, something else than the GPU is the bottleneck."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, or points, of a figure."""

    label: str
    role: str
    """faint, main, held_out, limit, or run0, run1, ...: decides the colour."""
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    points: bool = False
    """Mark each value."""


@dataclass(frozen=True, kw_only=True)
class RunFigure:
    """One chart."""

    name: str
    title: str
    series: Sequence[Series]
    say: Callable[[float], str] = number
    """Formats a value."""
    now: str = ""
    """The newest value as text."""
    warning: str = ""
    absent: str = "not measured yet"
    """Shown if there is nothing to draw."""
    zero: bool = False
    """The axis begins at zero."""
    top: float | None = None
    """The axis ends here."""
    borders: Sequence[tuple[float, str]] = field(default_factory=tuple)
    """Steps at which stages began."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(len(series.x) for series in self.series)

    def x_bounds(self) -> tuple[float, float]:
        """First and last step."""
        ends = np.concatenate([series.x for series in self.series] or [np.array([])])
        return (float(ends.min()), max(float(ends.max()), float(ends.min()) + 1)) if len(ends) else (0.0, 1.0)

    def y_bounds(self) -> tuple[float, float]:
        """What the axis shows; a few outliers of a faint line do not flatten the others."""
        faint = [_inner(y) for s in self.series if s.role == "faint" for y in (s.y, s.low, s.high) if y is not None]
        values = [s.y for s in self.series if s.role != "faint"] + faint
        low, high = bounds(np.concatenate(values) if values else np.array([]), zero=self.zero)
        return low, high if self.top is None else self.top


def _inner(values: np.ndarray) -> np.ndarray:
    good = values[np.isfinite(values)]
    return np.percentile(good, (5, 95)) if len(good) else good


def figures(history: RunHistory, buckets: int) -> dict[str, RunFigure]:
    """All figures of a run by name.

    Args:
        history: The run so far.
        buckets: Points a line may have.
    """
    drawn = [
        loss(history, buckets),
        _step(history, buckets, "train/lr", "learning rate", history.steps["lr"], zero=True, smooth=False),
        _step(
            history, buckets, "train/tokens_per_second", "tokens/s", history.tokens_per_second(), zero=True, say=_whole
        ),
        _step(history, buckets, "train/grad_norm", "gradient norm", history.steps["grad_norm"], zero=True),
        memory(history, buckets),
        utilization(history, buckets),
        _step(history, buckets, "train/accuracy", "token accuracy", history.steps["accuracy"], say=_percent),
    ]
    return {figure.name: figure for figure in drawn}


def loss(history: RunHistory, buckets: int) -> RunFigure:
    """The training loss, its running mean, and the held-out loss over it."""
    steps, values = history.steps["total"], history.steps["loss"]
    raw = curve(steps, values, buckets)
    mean = curve(steps, smoothed(values, smoothing_window(len(values))), buckets)
    held_out = np.array(history.losses, dtype=float).reshape(-1, 2)
    held = curve(held_out[:, 0], held_out[:, 1], buckets)
    newest = next((value for _, value in reversed(history.losses)), None)
    words = [f"train {number(_last(mean.mean))}"] if len(mean.x) else []
    words += [f"held out {number(newest)}"] if newest is not None else []
    return RunFigure(
        name="train/loss",
        title="loss",
        series=[
            Series(label="each step", role="faint", x=raw.x, y=raw.mean, low=raw.low, high=raw.high),
            Series(label="train/loss", role="main", x=mean.x, y=mean.mean),
            Series(label="held_out/loss", role="held_out", x=held.x, y=held.mean, points=True),
        ],
        now=", ".join(words),
        borders=[(float(total), name) for name, total in history.stages.items()],
    )


def _step(
    history: RunHistory,
    buckets: int,
    name: str,
    title: str,
    values: np.ndarray,
    *,
    zero: bool = False,
    smooth: bool = True,
    say: Callable[[float], str] = number,
) -> RunFigure:
    steps = history.steps["total"]
    raw = curve(steps, values, buckets)
    series = [Series(label=name, role="main", x=raw.x, y=raw.mean)]
    if smooth and len(steps) > 50:
        mean = curve(steps, smoothed(values, smoothing_window(len(values))), buckets)
        series = [
            Series(label="each step", role="faint", x=raw.x, y=raw.mean, low=raw.low, high=raw.high),
            Series(label=name, role="main", x=mean.x, y=mean.mean),
        ]
    newest = _last(series[-1].y)
    return RunFigure(name=name, title=title, series=series, say=say, zero=zero, now=say(newest) if len(steps) else "")


def memory(history: RunHistory, buckets: int) -> RunFigure:
    """Memory of the GPU, or of the process where there is none, below what the machine has."""
    gpu = history.machine.last("gpu_reserved_bytes") is not None
    held, limit = ("gpu_reserved_bytes", "gpu_bytes") if gpu else ("resident_bytes", "memory_bytes")
    line = curve(history.machine["total"], history.machine[held], buckets)
    now, most = history.machine.last(held), history.machine.last(limit)
    return RunFigure(
        name=f"machine/{held}",
        title="GPU memory" if gpu else "memory",
        series=[Series(label=held, role="main", x=line.x, y=line.mean)],
        say=size,
        zero=True,
        top=most if gpu else None,
        now="" if now is None else size(now) + (f" of {size(most)}" if most else ""),
    )


def utilization(history: RunHistory, buckets: int) -> RunFigure:
    """How busy the GPU is, with a warning under 90 %; the CPU where there is none."""
    gpu = history.machine.last("gpu_reserved_bytes") is not None
    name = "gpu_percent" if gpu else "cpu_percent"
    line = curve(history.machine["total"], history.machine[name], buckets)
    recent = history.machine[name][-10:]
    recent = recent[np.isfinite(recent)]
    mean = float(recent.mean()) if len(recent) else math.nan
    warning = f"GPU {mean:.0f} % busy, under {BUSY_PERCENT} %" if gpu and mean < BUSY_PERCENT else ""
    return RunFigure(
        name=f"machine/{name}",
        title="GPU busy" if gpu else "CPU busy",
        series=[Series(label=name, role="main", x=line.x, y=line.mean)],
        say=lambda value: f"{value:.0f} %",
        zero=True,
        top=100.0,
        now=f"{mean:.0f} %" if len(recent) else "",
        warning=warning,
        absent="needs NVML: pip install 'hafs[gpu]'" if gpu else "not measured yet",
    )


def compared(histories: Sequence[RunHistory], buckets: int) -> RunFigure:
    """The losses of several runs over each other: running means, and the held-out losses as points."""
    series = []
    for place, history in enumerate(histories):
        values = history.steps["loss"]
        mean = curve(history.steps["total"], smoothed(values, smoothing_window(len(values))), buckets)
        held = np.array(history.losses, dtype=float).reshape(-1, 2)
        series.append(Series(label=history.name, role=f"run{place}", x=mean.x, y=mean.mean))
        series.append(Series(label="", role=f"run{place}", x=held[:, 0], y=held[:, 1], points=True))
    return RunFigure(name="train/loss", title="loss", series=series)


def _last(values: np.ndarray) -> float:
    return float(values[-1]) if len(values) else math.nan


def _whole(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def _percent(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else "-"
