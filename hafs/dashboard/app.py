"""The dashboard in the terminal: one run, or a comparison of several."""

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
from hafs.dashboard.panels import AnswersPanel, ChartPanel, EventsPanel, HeadPanel
from hafs.dashboard.plot import COLORS, RUN_COLORS
from hafs.dashboard.table import HEADS, cells_of, shortened, status
from hafs.runs.history import JournalReader, RunHistory
from hafs.runs.history.figures import compared, figures
from hafs.runs.history.process import pause, resume, stop

SMALL = ("train/lr", "train/tokens_per_second", "train/grad_norm", "memory", "busy", "train/accuracy")

ENDINGS = {"memory": "_bytes", "busy": "_percent"}
"""Suffixes of the machine's figures. Their full names differ with and without a GPU."""


class ConfirmStop(ModalScreen[bool]):
    """Asks for confirmation before a run is stopped."""

    BINDINGS: ClassVar = [Binding("y", "dismiss(True)", "yes"), Binding("n,escape", "dismiss(False)", "no")]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def compose(self) -> ComposeResult:
        """The question with its two keys."""
        question = Text.assemble((f"Stop {self._name}?\n", "bold"))
        question.append("It saves a checkpoint first; the same command continues the run.\n\n", COLORS["text"])
        yield Static(question.append("y  stop      n  keep running", COLORS["held_out"]), id="question")


class Dashboard(App[None]):
    """Follows runs and draws them.

    Args:
        journals: One for each run. With several, the comparison is shown first.
        refresh_seconds: Interval between two reads of the files.
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

    def __init__(self, journals: Sequence[JournalReader], *, refresh_seconds: float) -> None:
        super().__init__()
        self.journals, self.refresh_seconds = list(journals), refresh_seconds
        self.place = 0
        self.read = False
        """Whether all files were read at least once."""

    @property
    def history(self) -> RunHistory:
        """History of the run that is shown."""
        return self.journals[self.place].history

    def compose(self) -> ComposeResult:
        """Two views: one run, and the comparison of all runs."""
        with ContentSwitcher(initial="many" if len(self.journals) > 1 else "one"):
            with Vertical(id="one"):
                yield HeadPanel(id="head")
                with Horizontal(id="charts"):
                    yield ChartPanel(id="loss", classes="panel")
                    with Grid(id="small"):
                        for name in SMALL:
                            yield ChartPanel(id=_id(name), classes="panel")
                with Horizontal(id="below"):
                    yield EventsPanel(id="events", classes="panel")
                    yield AnswersPanel(id="answers", classes="panel")
            with Vertical(id="many"):
                yield ChartPanel(id="compared", classes="panel")
                yield DataTable(id="runs", cursor_type="row", cursor_foreground_priority="renderable", classes="panel")
        yield Footer()

    def on_mount(self) -> None:
        """Read the files, then read them again at the refresh interval."""
        self.title = "hafs"
        self.query_one(DataTable).add_columns("", *HEADS)
        if len(self.journals) > 1:
            self.query_one(DataTable).focus()
        self.update_runs()
        self.set_interval(self.refresh_seconds, self.update_runs)

    def update_runs(self) -> None:
        """Read new events in a thread, so that keys keep working, then draw."""
        if not any(worker.is_running and worker.name == "read" for worker in self.workers):
            self.run_worker(self._read, thread=True, name="read", exit_on_error=True)

    def _read(self) -> None:
        for journal in self.journals:
            journal.follow()
        self.call_from_thread(self.draw)

    def draw(self) -> None:
        """Draw the current view from the events that were read."""
        self.read = True
        if self.query_one(ContentSwitcher).current == "many":
            self._draw_many()
        else:
            self._draw_one()

    def _draw_one(self) -> None:
        head = self.query_one(HeadPanel)
        head.history = self.history
        head.refresh()
        drawn = figures(self.history, buckets=2 * self.size.width)
        self.query_one("#loss", ChartPanel).show(drawn["train/loss"])
        for name in SMALL:
            ending = ENDINGS.get(name, name)
            found = next(figure for known, figure in drawn.items() if known.endswith(ending))
            self.query_one(f"#{_id(name)}", ChartPanel).show(found)
        self.query_one(EventsPanel).show(self.history)
        self.query_one(AnswersPanel).show(self.history)

    def _draw_many(self) -> None:
        histories = [journal.history for journal in self.journals]
        self.query_one("#compared", ChartPanel).show(compared(histories, buckets=2 * self.size.width))
        table = self.query_one(DataTable)
        for place, history in enumerate(histories):
            told = cells_of(history)
            name = shortened(told["run"], max(16, self.size.width - 64))
            color = RUN_COLORS[place % len(RUN_COLORS)]
            cells = (Text("━━", color), Text(name), status(history), *map(told.get, HEADS[2:]))
            if place >= table.row_count:
                table.add_row(*cells)
                continue
            for column, cell in enumerate(cells):
                table.update_cell_at(Coordinate(place, column), cell, update_width=True)

    # keys -------------------------------------------------------------------------------------------------------

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the selected run."""
        self._open(event.cursor_row)

    def action_next(self) -> None:
        """Show the next run."""
        self._open((self.place + 1) % len(self.journals))

    def action_compare(self) -> None:
        """Show the comparison of all runs."""
        self.query_one(ContentSwitcher).current = "many"
        self.query_one(DataTable).focus()
        self.draw()

    def _open(self, place: int) -> None:
        self.place = place
        self.query_one(ContentSwitcher).current = "one"
        self.draw()

    def action_answers(self) -> None:
        """Switch between answers and events on a narrow terminal, which has room for one of them."""
        self.query_one("#below").toggle_class("-answers")

    def _selected(self) -> JournalReader:
        if self.query_one(ContentSwitcher).current == "many":
            self.place = max(0, self.query_one(DataTable).cursor_row)
        return self.journals[self.place]

    def action_pause(self) -> None:
        """Ask the run to save a checkpoint, free the GPU and wait."""
        journal = self._selected()
        self._ask(
            lambda: pause(journal.history.started, journal.folder), f"{journal.folder.name} pauses after this step"
        )

    def action_resume(self) -> None:
        """Ask a paused run to continue."""
        journal = self._selected()
        self._ask(lambda: resume(journal.folder), f"{journal.folder.name} continues")

    def action_stop(self) -> None:
        """Ask the run to save a checkpoint and end, after a confirmation."""
        journal = self._selected()

        def confirmed(sure: bool | None) -> None:
            if sure:
                self._ask(
                    lambda: stop(journal.history.started, journal.folder), f"{journal.folder.name} saves and stops"
                )

        self.push_screen(ConfirmStop(journal.folder.name), confirmed)

    def _ask(self, act: Callable[[], None], done: str) -> None:
        try:
            act()
        except RunError as error:
            self.notify(error.fact, severity="error")
        else:
            self.notify(done)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show the keys for several runs only if there are several."""
        return len(self.journals) > 1 if action in ("next", "compare") else True


def _id(name: str) -> str:
    return name.replace("/", "-")
