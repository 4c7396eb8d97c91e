"""A figure as SVG; colours come from the page's own light or dark palette."""

from collections.abc import Sequence
from html import escape

import numpy as np

from hafs.runs.history.curves import ticks
from hafs.runs.history.figures import Figure, Series

RUNS = 8  # colours there are


def chart(figure: Figure, width: int, height: int) -> str:
    """A figure as one `<svg>`, its newest value in the heading."""
    heading = f"<b>{escape(figure.title)}</b> <code>{escape(figure.name)}</code>"
    if figure.now:
        heading += f" <span class=now>{escape(figure.now)}</span>"
    if figure.warning:
        heading += f" <span class=warning>{escape(figure.warning)}</span>"
    drawn = _drawing(figure, width, height) if not figure.empty else f"<p class=dim>{escape(figure.absent)}</p>"
    return f"<figure id='{escape(figure.name)}'><figcaption>{heading}</figcaption>{drawn}{_legend(figure)}</figure>"


def _drawing(figure: Figure, width: int, height: int) -> str:
    y_low, y_high = figure.y_bounds()
    marks = ticks(y_low, y_high, max(3, height // 45))
    left = 12 + 6.6 * max((len(figure.say(mark)) for mark in marks), default=1)
    room = _Room(left=left, right=width - 8.0, top=8.0, bottom=height - 22.0, x=figure.x_bounds(), y=(y_low, y_high))
    parts = [_grid(figure, room, marks), *(_series(series, figure, room) for series in figure.series)]
    label = escape(f"{figure.title} by step")
    return f'<svg viewBox="0 0 {width} {height}" role=img aria-label="{label}">{"".join(parts)}</svg>'


class _Room:
    """Where values lie on the paper."""

    def __init__(self, *, left: float, right: float, top: float, bottom: float, x: Sequence[float], y: Sequence[float]):
        self.left, self.right, self.top, self.bottom, self.x, self.y = left, right, top, bottom, x, y

    def across(self, values: np.ndarray) -> np.ndarray:
        return self.left + (values - self.x[0]) / (self.x[1] - self.x[0] or 1) * (self.right - self.left)

    def down(self, values: np.ndarray) -> np.ndarray:
        share = (values - self.y[0]) / (self.y[1] - self.y[0] or 1)
        return self.bottom - np.clip(share, 0, 1) * (self.bottom - self.top)


def _grid(figure: Figure, room: _Room, marks: Sequence[float]) -> str:
    parts = []
    for mark in marks:
        y = float(room.down(np.array(mark)))
        parts.append(f'<path class=grid d="M{room.left:.1f} {y:.1f}H{room.right:.1f}"/>')
        parts.append(f'<text x="{room.left - 6:.1f}" y="{y + 4:.1f}" text-anchor=end>{escape(figure.say(mark))}</text>')
    for mark in ticks(room.x[0], room.x[1], 6):
        if mark == round(mark):
            x = float(room.across(np.array(mark)))
            anchor = "end" if x > room.right - 20 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{room.bottom + 16:.1f}" text-anchor={anchor}>{mark:,.0f}</text>')
    for step, name in figure.borders:
        x = float(room.across(np.array(step)))
        parts.append(f'<path class=border d="M{x:.1f} {room.top}V{room.bottom:.1f}"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{room.top + 9:.1f}">{escape(name)}</text>')
    return "".join(parts)


def _series(series: Series, figure: Figure, room: _Room) -> str:
    if not len(series.x):
        return ""
    role = f"run{int(series.role[3:]) % RUNS}" if series.role.startswith("run") else series.role
    x = room.across(series.x)
    parts = []
    if series.low is not None and series.high is not None and len(x) > 1 and (series.low < series.high).any():
        edge = [*_points(x, room.down(series.high)), *_points(x[::-1], room.down(series.low)[::-1])]
        return f'<polygon class="haze {role}" points="{" ".join(edge)}"/>'
    y = room.down(series.y)
    if len(x) > 1 and (series.label or not series.points):
        parts.append(f'<polyline class="line {role}" points="{" ".join(_points(x, y))}"/>')
    if series.points or len(x) == 1:
        for place, (across, down) in enumerate(zip(x, y, strict=True)):
            said = escape(f"step {series.x[place]:,.0f}: {figure.say(float(series.y[place]))}")
            parts.append(f'<circle class="{role}" cx="{across:.1f}" cy="{down:.1f}" r=4><title>{said}</title></circle>')
    return "".join(parts)


def _points(x: np.ndarray, y: np.ndarray) -> list[str]:
    return [f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _legend(figure: Figure) -> str:
    named = [series for series in figure.series if series.label and len(series.x)]
    if len(named) < 2:
        return ""
    items = "".join(f'<li class="{s.role}">{escape(s.label)}</li>' for s in named)
    return f"<ul class=legend>{items}</ul>"
