"""The table of runs: one line each."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from hafs.runs.history.run_history import Story
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


def status(story: Story) -> Text:
    """A run's state as a coloured word."""
    word = story.status()
    sign, colour = STATUS[word]
    return Text(f"{sign} {word}", style=colour)


def shortened(name: str, room: int) -> str:
    """A name with its middle left out, where it does not fit: runs differ at both ends."""
    if len(name) <= room:
        return name
    tail = (room - 1) // 2
    return f"{name[: room - 1 - tail]}…{name[len(name) - tail :]}"


def facts(story: Story) -> dict[str, str]:
    """What a line says of a run, by heading; losses are held out, or of training where nothing was measured."""
    place = story.place()
    of = f"/{place.stages}" if place.stages else ""
    stage = f"{place.stage} {place.index}{of}" if place.index else place.stage
    newest = next((loss for _, loss in reversed(story.losses)), story.steps.last("loss"))
    return {
        "run": story.name,
        "status": story.status(),
        "stage": stage or "-",
        "step": f"{place.done:,}" + (f"/{place.planned:,}" if place.planned else ""),
        "loss": number(newest),
        "best": number(story.best),
        "time left": duration(story.seconds_left()),
    }


def runs_table(stories: Sequence[Story], *, title: str) -> Table:
    """Runs as a table, in the order given."""
    table = Table(title=title, title_justify="left")
    for head in HEADS:
        left = head in HEADS[:3]
        table.add_column(head, justify="left" if left else "right", overflow="fold", no_wrap=head not in HEADS[:1])
    for story in stories:
        said = facts(story)
        table.add_row(Text(said["run"]), status(story), *(said[head] for head in HEADS[2:]))
    return table
