"""The terminal screen: one run, or several compared."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Horizontal, Vertical
from textual.coordinate import Coordinate
from textual.screen import ModalScreen
from textual.widgets import ContentSwitcher, DataTable, Footer, Static

from hafs.core.errors import RunError
from hafs.dashboard.panels import Chart, Events, Head, Said
from hafs.dashboard.plot import COLOURS, RUNS
from hafs.dashboard.table import HEADS, facts, shortened, status
from hafs.runs.history import Journal, Story
from hafs.runs.history.figures import compared, figures
from hafs.runs.history.process import pause, resume, stop

SMALL = ("train/lr", "train/tokens_per_second", "train/grad_norm", "memory", "busy", "train/accuracy")

ENDINGS = {"memory": "_bytes", "busy": "_percent"}
"""How figures of the machine are found, whose names say whether it has a GPU."""


class Sure(ModalScreen[bool]):
    """Asks once before a run is stopped."""

    BINDINGS: ClassVar = [Binding("y", "dismiss(True)", "yes"), Binding("n,escape", "dismiss(False)", "no")]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def compose(self) -> ComposeResult:
        """The question."""
        words = Text.assemble((f"Stop {self._name}?\n", "bold"))
        words.append("It saves first, and the same command continues it.\n\n", COLOURS["text"])
        yield Static(words.append("y  stop      n  keep running", COLOURS["held_out"]), id="question")


class Dashboard(App[None]):
    """Follows runs and draws them.

    Args:
        journals: Of the runs; with several, their comparison comes first.
        refresh_seconds: Between two looks at the files.
    """

    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (120, "-wide")]
    BINDINGS: ClassVar = [
        Binding("p", "pause", "pause"),
        Binding("r", "resume", "resume"),
        Binding("s", "stop", "stop"),
        Binding("a", "answers", "answers/events"),
        Binding("n", "next", "next run"),
        Binding("c", "compare", "compare"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, journals: Sequence[Journal], *, refresh_seconds: float) -> None:
        super().__init__()
        self.journals, self.refresh_seconds = list(journals), refresh_seconds
        self.place = 0
        self.read = False
        """Whether everything was read once."""

    @property
    def story(self) -> Story:
        """The run that is shown."""
        return self.journals[self.place].story

    def compose(self) -> ComposeResult:
        """One run, and the comparison behind it."""
        with ContentSwitcher(initial="many" if len(self.journals) > 1 else "one"):
            with Vertical(id="one"):
                yield Head(id="head")
                with Horizontal(id="charts"):
                    yield Chart(id="loss", classes="panel")
                    with Grid(id="small"):
                        for name in SMALL:
                            yield Chart(id=_id(name), classes="panel")
                with Horizontal(id="below"):
                    yield Events(id="events", classes="panel")
                    yield Said(id="answers", classes="panel")
            with Vertical(id="many"):
                yield Chart(id="compared", classes="panel")
                yield DataTable(id="runs", cursor_type="row", cursor_foreground_priority="renderable", classes="panel")
        yield Footer()

    def on_mount(self) -> None:
        """Read, then look again and again."""
        self.title = "hafs"
        self.query_one(DataTable).add_columns("", *HEADS)
        if len(self.journals) > 1:
            self.query_one(DataTable).focus()
        self.look()
        self.set_interval(self.refresh_seconds, self.look)

    def look(self) -> None:
        """Read what is new in a thread, so that keys answer meanwhile, and draw it."""
        if not any(worker.is_running and worker.name == "read" for worker in self.workers):
            self.run_worker(self._read, thread=True, name="read", exit_on_error=True)

    def _read(self) -> None:
        for journal in self.journals:
            journal.follow()
        self.call_from_thread(self.draw)

    def draw(self) -> None:
        """Show what is known."""
        self.read = True
        if self.query_one(ContentSwitcher).current == "many":
            self._draw_many()
        else:
            self._draw_one()

    def _draw_one(self) -> None:
        head = self.query_one(Head)
        head.story = self.story
        head.refresh()
        drawn = figures(self.story, buckets=2 * self.size.width)
        self.query_one("#loss", Chart).show(drawn["train/loss"])
        for name in SMALL:
            ending = ENDINGS.get(name, name)
            found = next(figure for known, figure in drawn.items() if known.endswith(ending))
            self.query_one(f"#{_id(name)}", Chart).show(found)
        self.query_one(Events).show(self.story)
        self.query_one(Said).show(self.story)

    def _draw_many(self) -> None:
        stories = [journal.story for journal in self.journals]
        self.query_one("#compared", Chart).show(compared(stories, buckets=2 * self.size.width))
        table = self.query_one(DataTable)
        for place, story in enumerate(stories):
            said = facts(story)
            name = shortened(said["run"], max(16, self.size.width - 64))
            cells = (Text("━━", RUNS[place % len(RUNS)]), Text(name), status(story), *map(said.get, HEADS[2:]))
            if place >= table.row_count:
                table.add_row(*cells)
                continue
            for column, cell in enumerate(cells):
                table.update_cell_at(Coordinate(place, column), cell, update_width=True)

    # keys -------------------------------------------------------------------------------------------------------

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the run."""
        self._open(event.cursor_row)

    def action_next(self) -> None:
        """The next run."""
        self._open((self.place + 1) % len(self.journals))

    def action_compare(self) -> None:
        """All runs over each other."""
        self.query_one(ContentSwitcher).current = "many"
        self.query_one(DataTable).focus()
        self.draw()

    def _open(self, place: int) -> None:
        self.place = place
        self.query_one(ContentSwitcher).current = "one"
        self.draw()

    def action_answers(self) -> None:
        """Answers or events, where there is room for one of them."""
        self.query_one("#below").toggle_class("-answers")

    def _selected(self) -> Journal:
        if self.query_one(ContentSwitcher).current == "many":
            self.place = max(0, self.query_one(DataTable).cursor_row)
        return self.journals[self.place]

    def action_pause(self) -> None:
        """Save, free the GPU and wait."""
        journal = self._selected()
        self._ask(lambda: pause(journal.story.started, journal.folder), f"{journal.folder.name} pauses after this step")

    def action_resume(self) -> None:
        """Go on after a pause."""
        journal = self._selected()
        self._ask(lambda: resume(journal.folder), f"{journal.folder.name} goes on")

    def action_stop(self) -> None:
        """Save and end, once it was confirmed."""
        journal = self._selected()

        def confirmed(sure: bool | None) -> None:
            if sure:
                self._ask(lambda: stop(journal.story.started, journal.folder), f"{journal.folder.name} saves and stops")

        self.push_screen(Sure(journal.folder.name), confirmed)

    def _ask(self, act: Callable[[], None], done: str) -> None:
        try:
            act()
        except RunError as error:
            self.notify(error.fact, severity="error")
        else:
            self.notify(done)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of several runs only show where there are several."""
        return len(self.journals) > 1 if action in ("next", "compare") else True


def _id(name: str) -> str:
    return name.replace("/", "-")
