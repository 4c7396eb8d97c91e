"""A table with one line per run."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from hafs.runs.history.run_history import RunHistory
from hafs.runs.history.wording import duration, number

HEADS = ("run", "status", "stage", "step", "loss", "best", "time left")
STATUS = {
    "running": ("●", "#7fd88f"),
    "paused": ("‖", "#ffb454"),
    "finished": ("✔", "#5fb3ff"),
    "stopped": ("■", "#ffb454"),
    "failed": ("✘", "#ff6b6b"),
    "diverged": ("✘", "#ff6b6b"),
    "crashed": ("✘", "#ff6b6b"),
    "silent": ("?", "#8a94a0"),
    "empty": ("·", "#8a94a0"),
}


def status(history: RunHistory) -> Text:
    """The status of a run as a colored word."""
    word = history.status()
    sign, color = STATUS[word]
    return Text(f"{sign} {word}", style=color)


def shortened(name: str, room: int) -> str:
    """A name without its middle if it does not fit; names of runs differ at both ends."""
    if len(name) <= room:
        return name
    tail = (room - 1) // 2
    return f"{name[: room - 1 - tail]}…{name[len(name) - tail :]}"


def cells_of(history: RunHistory) -> dict[str, str]:
    """The cells of a run by heading. `loss` is the held-out loss, or the training loss before the first measurement."""
    place = history.place()
    of = f"/{place.stages}" if place.stages else ""
    stage = f"{place.stage} {place.index}{of}" if place.index else place.stage
    newest = next((loss for _, loss in reversed(history.losses)), history.steps.last("loss"))
    return {
        "run": history.name,
        "status": history.status(),
        "stage": stage or "-",
        "step": f"{place.done:,}" + (f"/{place.planned:,}" if place.planned else ""),
        "loss": number(newest),
        "best": number(history.best),
        "time left": duration(history.seconds_left()),
    }


def runs_table(histories: Sequence[RunHistory], *, title: str) -> Table:
    """A table of runs in the given order."""
    table = Table(title=title, title_justify="left")
    for head in HEADS:
        left = head in HEADS[:3]
        table.add_column(head, justify="left" if left else "right", overflow="fold", no_wrap=head not in HEADS[:1])
    for history in histories:
        cells = cells_of(history)
        table.add_row(Text(cells["run"]), status(history), *(cells[head] for head in HEADS[2:]))
    return table
