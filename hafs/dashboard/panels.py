"""The panels of the terminal dashboard. Each draws a part of one run and fits itself to its size."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from hafs.dashboard.plot import COLORS, plot, sparkline
from hafs.dashboard.table import shortened, status
from hafs.runs.history.figures import RunFigure
from hafs.runs.history.run_history import Answers, RunHistory, RunPosition
from hafs.runs.history.wording import clock, duration, is_trouble, said

GOOD_EVENTS = {"saved", "stage_finished", "finished", "resumed", "resumed_from_pause"}


class HeadPanel(Widget):
    """Name, status, stage, progress and remaining time, in two lines."""

    history: RunHistory | None = None

    def render(self) -> Text:
        """The two lines."""
        if self.history is None:
            return Text("reading ...")
        history, place, width = self.history, self.history.place(), self.size.width
        state = status(history)
        room = max(8, width - len(state) - 2)
        name = shortened(history.name, room)
        line = Text(name, style="bold", no_wrap=True)
        line.append(" " * max(2, width - len(name) - len(state))).append_text(state)
        return line.append("\n").append_text(self._progress(history, place, width))

    def _progress(self, history: RunHistory, place: RunPosition, width: int) -> Text:
        stage = f"{place.stage} {place.index}/{place.stages}" if place.index else place.stage
        left = history.seconds_left()
        facts = [
            f"step {place.step:,}" + (f"/{place.steps:,}" if place.steps else ""),
            f"epoch {place.epoch}/{place.epochs}" if place.epochs else "",
            f"{place.share:.0%}" if place.planned else "",
            f"{duration(left)} left" if left is not None else history.why or f"{duration(history.seconds())} in total",
        ]
        tail = "  ".join(fact for fact in facts if fact)
        room = width - len(stage) - 4
        bar = max(6, room - len(tail))
        tail = tail[: max(0, room - bar)]
        done = round(bar * place.share)
        text = Text(no_wrap=True).append(stage, "bold " + COLORS["held_out"]).append("  ")
        text.append("━" * done, COLORS["main"]).append("━" * (bar - done), "#2b3440")
        return text.append("  ").append(tail, COLORS["text"])


class ChartPanel(Widget):
    """A figure: a plot if there is room for it, otherwise one line with a sparkline."""

    figure: RunFigure | None = None

    def show(self, figure: RunFigure) -> None:
        """Replace the figure."""
        self.figure = figure
        title = Text(figure.title, style="bold")
        if figure.warning:
            title.append(f"  {figure.warning}", COLORS["bad"])
        elif figure.now:
            title.append(f"  {figure.now}", COLORS["text"])
        self.border_title = title.markup
        self.refresh()

    def render(self) -> Text:
        """The plot or the line."""
        if self.figure is None:
            return Text("")
        if self.size.height >= 3:
            return plot(self.figure, self.size.width, self.size.height)
        return self._line(self.figure)

    def _line(self, figure: RunFigure) -> Text:
        text = Text(f"{figure.title:<13} ", style=COLORS["text"], no_wrap=True)
        if figure.empty:
            return text.append(figure.absent, COLORS["axis"])
        text.append(figure.now, "bold " + COLORS["bad"] if figure.warning else "bold").append(" ")
        values = figure.series[-1].y
        room = self.size.width - len(text)
        return text.append(sparkline(values, room, zero=figure.zero, top=figure.top), COLORS["main"])


class EventsPanel(VerticalScroll):
    """The events of a run, newest first."""

    def compose(self):
        """One text with all lines."""
        yield Static(id="event-lines")

    def show(self, history: RunHistory) -> None:
        """Write all lines again."""
        text = Text()
        for event in reversed(history.notable):
            kind = event["event"]
            role = "bad" if is_trouble(event) else "good" if kind in GOOD_EVENTS else "text"
            text.append(clock(event["time"]), COLORS["axis"]).append(f"  {said(event)}\n", COLORS[role])
        warnings = f", {history.troubles} with warnings" if history.troubles else ""
        self.border_title = f"events  {sum(history.counts.values()):,}{warnings}"
        self.query_one(Static).update(text if history.notable else Text("no events yet", COLORS["axis"]))


class AnswersPanel(VerticalScroll):
    """The newest answers next to those of the base model."""

    def compose(self):
        """One table."""
        yield Static(id="answer-table")

    def show(self, history: RunHistory) -> None:
        """Write the table again."""
        answers = sorted(history.answers.values(), key=lambda a: -a.total)
        newest = max((a.total for a in answers if a.newest is not None), default=None)
        self.border_title = "answers" + (f"  step {newest:,} and the base model" if newest is not None else "")
        self.query_one(Static).update(answer_table(answers) if answers else Text("none yet", COLORS["axis"]))


def answer_table(answers: Sequence[Answers]) -> Table:
    """A table of prompts with the answer of the base model and the newest answer."""
    table = Table(box=None, expand=True, padding=(0, 2, 1, 0), header_style=COLORS["axis"])
    for head, ratio in (("prompt", 3), ("base", 4), ("newest", 4)):
        table.add_column(head, ratio=ratio, overflow="fold")
    for answer in answers:
        cells = (Text(answer.prompt, COLORS["text"]), Text(answer.base or "-"), Text(answer.newest or "-"))
        table.add_row(*map(_without_blank_lines, cells))
    return table


def _without_blank_lines(text: Text) -> Text:
    return Text("\n".join(line for line in text.plain.splitlines() if line.strip()), text.style)
