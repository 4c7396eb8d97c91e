"""Runs as HTML that needs nothing else: no script in the report, no external resource, light and dark."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hafs.core import durable
from hafs.core.errors import RunError
from hafs.runs.history import Journal, Story
from hafs.runs.history.figures import compared, figures
from hafs.runs.history.wording import clock, duration, is_trouble, number, said
from hafs.runs.report.chart import chart
from hafs.runs.report.style import STYLE

BUCKETS = 500  # points of a line
_EVENTS = 200  # shown
_SMALL = ("train/lr", "train/tokens_per_second", "train/grad_norm", "train/accuracy")


def document(title: str, content: str, *, script: str = "") -> str:
    """A whole page."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    code = f"<script>{script}</script>" if script else ""
    return (
        f"<!doctype html><html lang=en>{head}<style>{STYLE}</style><body><main>{content}</main>{code}</body></html>\n"
    )


def body(stories: Sequence[Story]) -> str:
    """The content of the live page: one run, or several compared."""
    if len(stories) == 1:
        return one(stories[0])
    rows = [_row(place, story) for place, story in enumerate(stories)]
    heads = ("", "run", "status", "stage", "step", "held-out loss", "best", "time left")
    return (
        f"<header><h1>{len(stories)} runs</h1></header>"
        + f"<section>{chart(compared(stories, BUCKETS), 1000, 360)}</section>"
        + f"<section>{table(heads, rows)}</section>"
    )


def _row(place: int, story: Story) -> tuple[str, ...]:
    where = story.place()
    newest = next((loss for _, loss in reversed(story.losses)), None)
    steps = f"{where.done:,}" + (f" of {where.planned:,}" if where.planned else "")
    link = f"<a href='?run={place}'>{escape(story.name)}</a>"
    swatch = f"<i class='swatch run{place % 8}'></i>"
    words = (where.stage or "-", steps, number(newest), number(story.best), duration(story.seconds_left()))
    return (swatch, link, state(story), *map(escape, words))


def one(story: Story) -> str:
    """One run: heading, curves, stages, events and answers."""
    return _heading(story) + _charts(story) + _stages(story) + _answers(story) + _events(story)


def state(story: Story) -> str:
    """The run's state as a badge."""
    word = story.status()
    return f"<span class='badge {word}'>{word}</span>"


def _heading(story: Story) -> str:
    place, left = story.place(), story.seconds_left()
    words = [
        f"stage {place.stage}" + (f" ({place.index} of {place.stages})" if place.index else "") if place.stage else "",
        f"step {place.step:,}" + (f" of {place.steps:,}" if place.steps else ""),
        f"epoch {place.epoch} of {place.epochs}" if place.epochs else "",
        f"{place.done:,} of {place.planned:,} steps in all" if place.planned else "",
        f"{duration(left)} left" if left is not None else f"{duration(story.seconds())} in all",
        story.why,
    ]
    gain = ""
    if story.base is not None and story.best is not None:
        gain = f"<p class=gain>held-out loss <b>{number(story.base)}</b> &rarr; <b>{number(story.best)}</b></p>"
    bar = f"<div class=bar><div style='width:{place.share:.1%}'></div></div>" if place.planned else ""
    facts = " &middot; ".join(escape(word) for word in words if word)
    return f"<header><h1>{escape(story.name)} {state(story)}</h1>{gain}{bar}<p class=dim>{facts}</p></header>"


def _charts(story: Story) -> str:
    drawn = figures(story, BUCKETS)
    small = [*_SMALL, *(name for name in drawn if name.startswith("machine/"))]
    parts = "".join(chart(drawn[name], 480, 170) for name in small if not _absent(name, drawn[name].empty))
    return f"<section>{chart(drawn['train/loss'], 1000, 320)}</section><section class=small>{parts}</section>"


def _absent(name: str, empty: bool) -> bool:
    return empty and name.endswith("_percent")


def _stages(story: Story) -> str:
    if not story.finished:
        return ""
    rows = []
    for name, event in story.finished.items():
        kept = "" if event.get("kept", True) else " <span class=warning>worse, not used</span>"
        accuracy = event.get("accuracy")
        rows.append((
            escape(name) + kept, number(event.get("loss")), number(event.get("perplexity")),
            "-" if accuracy is None else f"{accuracy:.1%}", number(event.get("answer_tokens")),
            f"{event.get('train_steps', 0):,.0f}", f"{event.get('train_tokens', 0):,.0f}",
        ))  # fmt: skip
    heads = ("stage", "held-out loss", "perplexity", "token accuracy", "answer tokens", "steps", "trained tokens")
    return f"<section><h2>Stages</h2>{table(heads, rows)}</section>"


def _answers(story: Story) -> str:
    if not story.answers:
        return ""
    rows = [
        (_text(a.prompt), _text(a.base or "-"), _text(a.newest or "-"))
        for a in sorted(story.answers.values(), key=lambda a: -a.total)
    ]
    newest = max((a.total for a in story.answers.values()), default=0)
    heads = ("prompt", "base", f"step {newest:,}")
    return f"<section class=answers><h2>Answers</h2>{table(heads, rows)}</section>"


def _events(story: Story) -> str:
    rows = []
    for event in list(reversed(story.notable))[:_EVENTS]:
        words = escape(said(event))
        if is_trouble(event):
            words = f"<span class=warning>{words}</span>"
        total = event.get("total")
        rows.append((clock(event["time"]), "" if total is None else f"{total:,}", words))
    counts = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in story.counts.most_common())
    more = f"<p class=dim>{escape(counts)}</p>" if counts else ""
    return f"<section class=events><h2>Events</h2>{more}{table(('time', 'step', 'what'), rows)}</section>"


def _text(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=table><table><tr>{head}</tr>{lines}</table></div>"


def write(folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    Raises:
        RunError: The folder has no events.
        OSError: The disk refuses.
    """
    journal = Journal(folder)
    if not journal.follow():
        raise RunError(f"{folder} has no events to report")
    content = one(journal.story) + _data(folder)
    durable.write_text(folder / "report.html", document(journal.story.name, content))
    return folder / "report.html"


def _data(folder: Path) -> str:
    """What the data report says, in short; the whole of it is beside it."""
    try:
        facts: dict[str, Any] = json.loads((folder / "data_report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in facts.get("rejected", {}).items()) or "none"
    lengths = ", ".join(f"{name} {value:,}" for name, value in facts.get("lengths", {}).items())
    rows = [
        ("dataset", escape(str(facts.get("name")))),
        ("rows", f"{facts.get('rows', 0):,}"),
        ("rejected", escape(rejected)),
        ("duplicates", f"{facts.get('exact_duplicates', 0):,} exact, {facts.get('near_duplicates', 0):,} near"),
        ("tokens in a sample", escape(lengths)),
        ("supervised", f"{facts.get('supervised_share', 0):.1%} of {facts.get('tokens', 0):,} tokens"),
        ("fingerprint", f"<code>{escape(str(facts.get('fingerprint')))}</code>"),
    ]
    splits = [
        (escape(name), *(f"{split.get(key, 0):,}" for key in ("samples", "groups", "tokens", "supervised")))
        for name, split in facts.get("splits", {}).items()
    ]
    notes = "".join(f"<p class=dim>{escape(note)}</p>" for note in facts.get("notes", ()))
    whole = "<p class=dim>The whole of it: <a href='data_report.html'>data_report.html</a></p>"
    tables = table(("fact", ""), rows) + table(("split", "samples", "groups", "tokens", "supervised"), splits)
    return f"<section><h2>Data</h2>{tables}{notes}{whole}</section>"
