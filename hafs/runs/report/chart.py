"""Where the marks of a figure lie on the page, in SVG units; `templates/chart.html.j2` draws them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hafs.runs.history.curves import ticks
from hafs.runs.history.figures import RunFigure, Series

RUNS = 8
"""Number of run colors in the page's style."""


@dataclass(frozen=True, kw_only=True)
class GridLine:
    """A grid line or the border between two stages."""

    kind: str
    """`grid` or `border`: decides the color."""
    path: str
    """An SVG path."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Text at an axis."""

    x: float
    y: float
    text: str
    anchor: str = "start"


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
    width: int
    height: int
    lines: Sequence[GridLine] = ()
    labels: Sequence[Label] = ()
    marks: Sequence[Mark] = ()
    legend: Sequence[tuple[str, str]] = ()
    """Role and label of each named series, if there are several."""


def chart(figure: RunFigure, width: int, height: int) -> Chart:
    """Lay a figure out.

    Args:
        figure: What to draw.
        width: In SVG units, as `height`.
        height: Of the drawing, without heading and legend.
    """
    named = [(_role(series), series.label) for series in figure.series if series.label and len(series.x)]
    drawing = {} if figure.empty else _drawing(figure, width, height)
    return Chart(
        name=figure.name, title=figure.title, now=figure.now, warning=figure.warning,
        absent=figure.absent if figure.empty else "", width=width, height=height,
        legend=named if len(named) > 1 else (), **drawing,
    )  # fmt: skip


def _drawing(figure: RunFigure, width: int, height: int) -> dict:
    y_low, y_high = figure.y_bounds()
    values = ticks(y_low, y_high, max(3, height // 45))
    left = 12 + 6.6 * max((len(figure.say(value)) for value in values), default=1)
    room = _Room(left=left, right=width - 8.0, top=8.0, bottom=height - 22.0, x=figure.x_bounds(), y=(y_low, y_high))
    lines, labels = _axes(figure, room, values)
    return {
        "lines": lines,
        "labels": labels,
        "marks": [mark for series in figure.series for mark in _marks(series, figure, room)],
    }


class _Room:
    """Maps values to SVG units."""

    def __init__(self, *, left: float, right: float, top: float, bottom: float, x: Sequence[float], y: Sequence[float]):
        self.left, self.right, self.top, self.bottom, self.x, self.y = left, right, top, bottom, x, y

    def across(self, values: np.ndarray) -> np.ndarray:
        return self.left + (values - self.x[0]) / (self.x[1] - self.x[0] or 1) * (self.right - self.left)

    def down(self, values: np.ndarray) -> np.ndarray:
        share = (values - self.y[0]) / (self.y[1] - self.y[0] or 1)
        return self.bottom - np.clip(share, 0, 1) * (self.bottom - self.top)


def _axes(figure: RunFigure, room: _Room, values: Sequence[float]) -> tuple[list[GridLine], list[Label]]:
    lines, labels = [], []
    for value in values:
        y = float(room.down(np.array(value)))
        lines.append(GridLine(kind="grid", path=f"M{room.left:.1f} {y:.1f}H{room.right:.1f}"))
        labels.append(Label(x=_tenth(room.left - 6), y=_tenth(y + 4), text=figure.say(value), anchor="end"))
    for step in ticks(room.x[0], room.x[1], 6):
        if step == round(step):
            x = float(room.across(np.array(step)))
            anchor = "end" if x > room.right - 20 else "middle"
            labels.append(Label(x=_tenth(x), y=_tenth(room.bottom + 16), text=f"{step:,.0f}", anchor=anchor))
    for step, name in figure.borders:
        x = float(room.across(np.array(step)))
        lines.append(GridLine(kind="border", path=f"M{x:.1f} {room.top}V{room.bottom:.1f}"))
        labels.append(Label(x=_tenth(x + 4), y=_tenth(room.top + 9), text=name))
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
    if series.points or len(x) == 1:
        for place, (across, down) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            told = f"step {series.x[place]:,.0f}: {figure.say(float(series.y[place]))}"
            yield Mark(shape="point", role=role, x=_tenth(across), y=_tenth(down), told=told)


def _role(series: Series) -> str:
    return f"run{int(series.role[3:]) % RUNS}" if series.role.startswith("run") else series.role


def _points(x: np.ndarray, y: np.ndarray) -> list[str]:
    return [f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _tenth(value: float) -> float:
    return round(value, 1)
