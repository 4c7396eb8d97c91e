"""The panels of the terminal screen; each draws a part of one run into whatever room it has."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from hafs.dashboard.plot import COLOURS, plot, sparkline
from hafs.dashboard.table import shortened, status
from hafs.runs.history.figures import Figure
from hafs.runs.history.run_history import Answers, Story
from hafs.runs.history.wording import clock, duration, is_trouble, said

GOOD_EVENTS = {"saved", "stage_finished", "finished", "resumed", "resumed_from_pause"}


class Head(Widget):
    """Name, state, stage, progress and time left, in two lines."""

    story: Story | None = None

    def render(self) -> Text:
        """Two lines."""
        if self.story is None:
            return Text("reading ...")
        story, place, width = self.story, self.story.place(), self.size.width
        state = status(story)
        room = max(8, width - len(state) - 2)
        name = shortened(story.name, room)
        line = Text(name, style="bold", no_wrap=True)
        line.append(" " * max(2, width - len(name) - len(state))).append_text(state)
        return line.append("\n").append_text(self._progress(story, place, width))

    def _progress(self, story: Story, place, width: int) -> Text:
        stage = f"{place.stage} {place.index}/{place.stages}" if place.index else place.stage
        left = story.seconds_left()
        words = [
            f"step {place.step:,}" + (f"/{place.steps:,}" if place.steps else ""),
            f"epoch {place.epoch}/{place.epochs}" if place.epochs else "",
            f"{place.share:.0%}" if place.planned else "",
            f"{duration(left)} left" if left is not None else story.why or f"{duration(story.seconds())} in all",
        ]
        tail = "  ".join(word for word in words if word)
        room = width - len(stage) - 4
        bar = max(6, room - len(tail))
        tail = tail[: max(0, room - bar)]
        done = round(bar * place.share)
        text = Text(no_wrap=True).append(stage, "bold " + COLOURS["held_out"]).append("  ")
        text.append("━" * done, COLOURS["main"]).append("━" * (bar - done), "#2b3440")
        return text.append("  ").append(tail, COLOURS["text"])


class Chart(Widget):
    """A figure: a plot where there is room, else one line with a sparkline."""

    figure: Figure | None = None

    def show(self, figure: Figure) -> None:
        """Draw a newer figure."""
        self.figure = figure
        title = Text(figure.title, style="bold")
        if figure.warning:
            title.append(f"  {figure.warning}", COLOURS["bad"])
        elif figure.now:
            title.append(f"  {figure.now}", COLOURS["text"])
        self.border_title = title.markup
        self.refresh()

    def render(self) -> Text:
        """Whatever fits."""
        if self.figure is None:
            return Text("")
        if self.size.height >= 3:
            return plot(self.figure, self.size.width, self.size.height)
        return self._line(self.figure)

    def _line(self, figure: Figure) -> Text:
        text = Text(f"{figure.title:<13} ", style=COLOURS["text"], no_wrap=True)
        if figure.empty:
            return text.append(figure.absent, COLOURS["axis"])
        text.append(figure.now, "bold " + COLOURS["bad"] if figure.warning else "bold").append(" ")
        values = figure.series[-1].y
        room = self.size.width - len(text)
        return text.append(sparkline(values, room, zero=figure.zero, top=figure.top), COLOURS["main"])


class Events(VerticalScroll):
    """What happened, the newest first."""

    def compose(self):
        """One text."""
        yield Static(id="event-lines")

    def show(self, story: Story) -> None:
        """Write the lines anew."""
        text = Text()
        for event in reversed(story.notable):
            kind = event["event"]
            role = "bad" if is_trouble(event) else "good" if kind in GOOD_EVENTS else "text"
            text.append(clock(event["time"]), COLOURS["axis"]).append(f"  {said(event)}\n", COLOURS[role])
        trouble = story.troubles
        self.border_title = f"events  {sum(story.counts.values()):,}" + (
            f", {trouble} of them trouble" if trouble else ""
        )
        self.query_one(Static).update(text if story.notable else Text("nothing happened yet", COLOURS["axis"]))


class Said(VerticalScroll):
    """The newest answers beside the base's."""

    def compose(self):
        """One table."""
        yield Static(id="answer-table")

    def show(self, story: Story) -> None:
        """Write the table anew."""
        answers = sorted(story.answers.values(), key=lambda a: -a.total)
        newest = max((a.total for a in answers if a.newest is not None), default=None)
        self.border_title = "answers" + (f"  step {newest:,} beside the base" if newest is not None else "")
        self.query_one(Static).update(answer_table(answers) if answers else Text("none yet", COLOURS["axis"]))


def answer_table(answers: Sequence[Answers]) -> Table:
    """Prompt, base, newest."""
    table = Table(box=None, expand=True, padding=(0, 2, 1, 0), header_style=COLOURS["axis"])
    for head, ratio in (("prompt", 3), ("base", 4), ("newest", 4)):
        table.add_column(head, ratio=ratio, overflow="fold")
    for answer in answers:
        cells = (Text(answer.prompt, COLOURS["text"]), Text(answer.base or "-"), Text(answer.newest or "-"))
        table.add_row(*map(_without_blank_lines, cells))
    return table


def _without_blank_lines(text: Text) -> Text:
    return Text("\n".join(line for line in text.plain.splitlines() if line.strip()), text.style)
