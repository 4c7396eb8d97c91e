"""A figure drawn with braille characters: eight dots per character, so that a small terminal shows a curve."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from rich.text import Text

from hafs.runs.history.curves import ticks
from hafs.runs.history.figures import RunFigure, Series

COLORS = {
    "faint": "#2c4058",
    "main": "#5fb3ff",
    "held_out": "#ffb454",
    "limit": "#8b5a5a",
    "axis": "#5c6773",
    "text": "#8a94a0",
    "good": "#7fd88f",
    "bad": "#ff6b6b",
}
RUN_COLORS = ("#5fb3ff", "#ffb454", "#7fd88f", "#d39bff", "#ff7a93", "#5de0d0", "#e6db74", "#a0a8b4")
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # dot (row, column) of a braille character
_BLOCKS = " ▁▂▃▄▅▆▇█"


def color(role: str) -> str:
    """The color of a series by its role."""
    return RUN_COLORS[int(role[3:]) % len(RUN_COLORS)] if role.startswith("run") else COLORS[role]


def plot(figure: RunFigure, width: int, height: int) -> Text:
    """A figure of `width` x `height` characters, including the axes."""
    if figure.empty or width < 16 or height < 3:
        return Text(figure.absent if figure.empty else "", style=COLORS["text"])
    rows = height - 1
    y_low, y_high = figure.y_bounds()
    labels = _y_labels(figure, y_low, y_high, rows)
    margin = max(map(len, labels.values()), default=0) + 1
    columns = width - margin - 1
    x_low, x_high = figure.x_bounds()
    cells, styles = _canvas(figure, columns, rows, (x_low, x_high), (y_low, y_high))
    text = Text(no_wrap=True, end="")
    for row in range(rows):
        label = labels.get(row, "")
        text.append(f"{label:>{margin}}", COLORS["text"]).append("┤" if label else "│", COLORS["axis"])
        for cell, style in zip(cells[row], styles[row], strict=True):
            text.append(cell, style)
        text.append("\n")
    return text.append(_x_labels(x_low, x_high, columns, margin), COLORS["text"])


def _y_labels(figure: RunFigure, low: float, high: float, rows: int) -> dict[int, str]:
    places = {}
    for value in ticks(low, high, max(3, rows // 3)):
        place = round((high - value) / (high - low) * (rows - 1)) if high > low else 0
        places.setdefault(place, figure.say(value))
    return places


def _x_labels(low: float, high: float, columns: int, margin: int) -> str:
    line = [" "] * (columns + margin + 1)
    free = 0
    for value in ticks(low, high, max(2, columns // 14)):
        word = f"{value:,.0f}" if value == round(value) else ""
        place = margin + 1 + round((value - low) / (high - low) * (columns - 1)) - len(word) // 2
        place = min(place, len(line) - len(word))
        if word and place >= free:
            line[place : place + len(word)] = word
            free = place + len(word) + 2
    return "".join(line)


def _canvas(
    figure: RunFigure, columns: int, rows: int, x: tuple[float, float], y: tuple[float, float]
) -> tuple[list[list[str]], list[list[str]]]:
    """Characters and their colors; later series cover earlier ones."""
    bits, styles = np.zeros((rows, columns), int), [[""] * columns for _ in range(rows)]
    marks: dict[tuple[int, int], str] = {}
    for series in figure.series:
        drawn = np.zeros((rows, columns), int)
        for column, row in _dots(series, 2 * columns, 4 * rows, x, y):
            drawn[row // 4, column // 2] |= _BITS[row % 4, column % 2]
        for row, column in np.argwhere(drawn):
            covered = (
                styles[row][column] == COLORS["faint"]
            )  # a line replaces the dots of a haze, which would thicken it
            bits[row, column] = drawn[row, column] | (0 if covered else bits[row, column])
            styles[row][column] = color(series.role)
        if series.points:
            for column, row in _places(series, 2 * columns, 4 * rows, x, y):
                marks[(row // 4, column // 2)] = color(series.role)
    cells = [[chr(0x2800 + bit) if bit else " " for bit in line] for line in bits]
    _borders(figure, cells, styles, columns, x)
    for (row, column), style in marks.items():
        cells[row][column], styles[row][column] = "◆", style
    return cells, styles


def _borders(figure: RunFigure, cells: list[list[str]], styles: list[list[str]], columns: int, x: tuple[float, float]):
    for step, name in figure.borders:
        if not x[0] <= step <= x[1]:
            continue
        column = min(columns - 1, round((step - x[0]) / (x[1] - x[0]) * (columns - 1)))
        for row, line in enumerate(cells):
            if line[column] == " ":
                line[column], styles[row][column] = "┊", COLORS["axis"]
        for row, first in _room(cells, column, len(name)):
            for place, letter in zip(range(first, first + len(name)), name, strict=True):
                cells[row][place], styles[row][place] = letter, COLORS["text"]
            break


def _room(cells: list[list[str]], column: int, length: int) -> Iterator[tuple[int, int]]:
    """Rows and columns where the name of a border fits: at the top or bottom, to its right or left."""
    for row in (0, len(cells) - 1):
        for first in (column + 1, column - length):
            around = range(max(0, first - 1), min(len(cells[row]), first + length + 1))
            if first >= 0 and first + length <= len(cells[row]) and all(cells[row][place] in " ┊" for place in around):
                yield row, first


def _scaled(values: np.ndarray, bounds: tuple[float, float], dots: int) -> np.ndarray:
    share = (np.nan_to_num(values, nan=bounds[0]) - bounds[0]) / (bounds[1] - bounds[0] or 1)
    return np.clip(np.round(share * (dots - 1)), 0, dots - 1).astype(int)


def _places(
    series: Series, width: int, height: int, x: tuple[float, float], y: tuple[float, float]
) -> list[tuple[int, int]]:
    good = np.isfinite(series.y)
    columns, rows = _scaled(series.x[good], x, width), height - 1 - _scaled(series.y[good], y, height)
    return list(zip(columns.tolist(), rows.tolist(), strict=True))


def _dots(
    series: Series, width: int, height: int, x: tuple[float, float], y: tuple[float, float]
) -> set[tuple[int, int]]:
    places = _places(series, width, height, x, y)
    if series.points and series.role != "held_out":
        return set()
    if series.low is not None and series.high is not None and (series.low < series.high).any():
        return _haze(series, width, height, x, y)
    found = set(places)
    for (left, top), (right, bottom) in pairwise(places):
        count = max(abs(right - left), abs(bottom - top)) + 1
        columns, rows = np.linspace(left, right, count), np.linspace(top, bottom, count)
        found.update(zip(columns.round().astype(int).tolist(), rows.round().astype(int).tolist(), strict=True))
    return found


def _haze(
    series: Series, width: int, height: int, x: tuple[float, float], y: tuple[float, float]
) -> set[tuple[int, int]]:
    """Dots from the lowest to the highest value of each bucket."""
    columns = _scaled(series.x, x, width).tolist()
    tops = (height - 1 - _scaled(series.high, y, height)).tolist()  # type: ignore[arg-type]
    bottoms = (height - 1 - _scaled(series.low, y, height)).tolist()  # type: ignore[arg-type]
    return {
        (column, row)
        for column, top, bottom in zip(columns, tops, bottoms, strict=True)
        for row in range(top, bottom + 1)
    }


def sparkline(values: Sequence[float] | np.ndarray, width: int, *, zero: bool, top: float | None) -> str:
    """Values as one line of block characters, newest on the right."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values) or width < 1:
        return ""
    if len(values) > width:
        edges = np.linspace(0, len(values), width + 1).astype(int)[:-1]
        values = np.add.reduceat(values, edges) / np.diff(np.append(edges, len(values)))
    low, high = (0.0 if zero else float(values.min())), (top or float(values.max()))
    places = _scaled(values, (low, max(high, low + 1e-12)), len(_BLOCKS) - 1) + 1
    return "".join(_BLOCKS[place] for place in places)
