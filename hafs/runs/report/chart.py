"""Where the marks of a figure lie, in thousandths of its width and height; `templates/chart.html.j2` draws them.

The drawing stretches to the width of the page, and the text keeps its size: labels are text beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hafs.runs.history.curves import ticks
from hafs.runs.history.figures import RunFigure, Series

RUNS = 8
"""Number of run colors in the page's style."""
FEW = 20
"""A line of fewer points also shows them: the eye would take it for as many as it has pixels."""
_SIZE = 1000


@dataclass(frozen=True, kw_only=True)
class GridLine:
    """A grid line or the border between two stages."""

    kind: str
    """`grid` or `border`: decides the color."""
    path: str
    """An SVG path."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Text at an axis, or at the border of a stage."""

    kind: str
    """`down` at the left axis, `across` at the lower one, `last` at its right end, or `stage`."""
    at: float
    """Percent of the height, or of the width."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A line, a band (`haze`) from the lowest to the highest value, or one point of a series."""

    shape: str
    """`line`, `haze` or `point`."""
    role: str
    """Decides the color."""
    points: str = ""
    """Of a line or a haze: `x,y` pairs."""
    x: float = 0.0
    y: float = 0.0
    told: str = ""
    """What a point says when the mouse is over it."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure with its marks in place; the fields of the heading are those of `RunFigure`."""

    name: str
    title: str
    now: str
    warning: str
    absent: str
    """Shown instead of the drawing; empty if there is something to draw."""
    height: int
    """In pixels; the width is the page's."""
    margin: int = 0
    """Characters of the longest label at the left."""
    lines: Sequence[GridLine] = ()
    labels: Sequence[Label] = ()
    marks: Sequence[Mark] = ()
    legend: Sequence[tuple[str, str]] = ()
    """Role and label of each named series, if there are several."""


def chart(figure: RunFigure, height: int) -> Chart:
    """Lay a figure out.

    Args:
        figure: What to draw.
        height: Of the drawing in pixels, without heading and legend.
    """
    named = [(_role(series), series.label) for series in figure.series if series.label and len(series.x)]
    drawing = {} if figure.empty else _drawing(figure, height)
    return Chart(
        name=figure.name, title=figure.title, now=figure.now, warning=figure.warning,
        absent=figure.absent if figure.empty else "", height=height,
        legend=named if len(named) > 1 else (), **drawing,
    )  # fmt: skip


def _drawing(figure: RunFigure, height: int) -> dict:
    y_low, y_high = figure.y_bounds()
    values = ticks(y_low, y_high, max(3, height // 45))
    room = _Room(x=figure.x_bounds(), y=(y_low, y_high))
    lines, labels = _axes(figure, room, values)
    return {
        "lines": lines,
        "labels": labels,
        "marks": [mark for series in figure.series for mark in _marks(series, figure, room)],
        "margin": 1 + max((len(figure.say(value)) for value in values), default=1),
    }


class _Room:
    """Maps values to thousandths of the drawing."""

    def __init__(self, *, x: Sequence[float], y: Sequence[float]):
        self.x, self.y = x, y

    def across(self, values: np.ndarray) -> np.ndarray:
        return (values - self.x[0]) / (self.x[1] - self.x[0] or 1) * _SIZE

    def down(self, values: np.ndarray) -> np.ndarray:
        share = (values - self.y[0]) / (self.y[1] - self.y[0] or 1)
        return _SIZE * (1 - np.clip(share, 0, 1))


def _axes(figure: RunFigure, room: _Room, values: Sequence[float]) -> tuple[list[GridLine], list[Label]]:
    lines, labels = [], []
    for value in values:
        y = float(room.down(np.array(value)))
        lines.append(GridLine(kind="grid", path=f"M0 {y:.1f}H{_SIZE}"))
        labels.append(Label(kind="down", at=_tenth(y / 10), text=figure.say(value)))
    for step in ticks(room.x[0], room.x[1], 6):
        if step == round(step):
            x = float(room.across(np.array(step)))
            kind = "last" if x > 0.97 * _SIZE else "across"
            labels.append(Label(kind=kind, at=_tenth(x / 10), text=f"{step:,.0f}"))
    for step, name in figure.borders:
        x = float(room.across(np.array(step)))
        lines.append(GridLine(kind="border", path=f"M{x:.1f} 0V{_SIZE}"))
        labels.append(Label(kind="stage", at=_tenth(x / 10), text=name))
    return lines, labels


def _marks(series: Series, figure: RunFigure, room: _Room) -> Iterator[Mark]:
    if not len(series.x):
        return
    role, x = _role(series), room.across(series.x)
    if series.low is not None and series.high is not None and len(x) > 1 and (series.low < series.high).any():
        edge = [*_points(x, room.down(series.high)), *_points(x[::-1], room.down(series.low)[::-1])]
        yield Mark(shape="haze", role=role, points=" ".join(edge))
        return
    y = room.down(series.y)
    if len(x) > 1 and (series.label or not series.points):
        yield Mark(shape="line", role=role, points=" ".join(_points(x, y)))
    if series.points or len(x) < FEW:
        for place, (across, down) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            told = f"step {series.x[place]:,.0f}: {figure.say(float(series.y[place]))}"
            yield Mark(shape="point", role=role, x=_tenth(across), y=_tenth(down), told=told)


def _role(series: Series) -> str:
    return f"run{int(series.role[3:]) % RUNS}" if series.role.startswith("run") else series.role


def _points(x: np.ndarray, y: np.ndarray) -> list[str]:
    return [f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _tenth(value: float) -> float:
    return round(value, 1)
