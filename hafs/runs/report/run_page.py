"""Runs as HTML pages: the data that `templates/` shows; the report has no script and no external resource."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hafs.core import durable, records
from hafs.core.errors import RunError
from hafs.core.pages import render
from hafs.runs.history import JournalReader, RunHistory
from hafs.runs.history.figures import compared, figures
from hafs.runs.history.wording import clock, duration, is_trouble, number, said
from hafs.runs.report.chart import Chart, chart

BUCKETS = 500
"""Points of a line, at most."""
_EVENTS = 200  # shown
_SMALL = ("train/lr", "train/tokens_per_second", "train/grad_norm", "train/accuracy")


def write(folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    Raises:
        RunError: The folder has no events.
        OSError: The file cannot be written.
    """
    journal = JournalReader(folder)
    if not journal.follow():
        raise RunError(f"{folder} has no events to report")
    facts = run_facts(journal.history) | {"data": _data(folder)}
    page = render("runs/report/templates/page.html.j2", title=journal.history.name, **facts)
    durable.write_text(folder / "report.html", page)
    return folder / "report.html"


def body_facts(histories: Sequence[RunHistory]) -> dict[str, Any]:
    """What `templates/body.html.j2` shows: one run, or several compared."""
    if len(histories) == 1:
        return run_facts(histories[0])
    return {
        "comparison": chart(compared(histories, BUCKETS), 330),
        "runs": [{"name": run.name, "status": run.status(), "cells": _compared_cells(run)} for run in histories],
    }


def run_facts(run: RunHistory) -> dict[str, Any]:
    """What `templates/run.html.j2` shows of one run."""
    gain = None if run.base is None or run.best is None else (number(run.base), number(run.best))
    place = run.place()
    loss, small = _charts(run)
    newest = max((answer.total for answer in run.answers.values()), default=0)
    answers = sorted(run.answers.values(), key=lambda answer: -answer.total)
    return {
        "name": run.name,
        "status": run.status(),
        "gain": gain,
        "percent": round(100 * place.share, 1) if place.planned else None,
        "facts": _heading(run),
        "loss": loss,
        "small": small,
        "stages": [_stage(name, event) for name, event in run.finished.items()],
        "answers": [(answer.prompt, answer.base or "-", answer.newest or "-") for answer in answers],
        "answers_head": f"step {newest:,}",
        "events": [_event(event) for event in list(reversed(run.notable))[:_EVENTS]],
        "counts": ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in run.counts.most_common()),
    }


def _compared_cells(run: RunHistory) -> tuple[str, ...]:
    place = run.place()
    newest = next((loss for _, loss in reversed(run.losses)), None)
    steps = f"{place.done:,}" + (f" of {place.planned:,}" if place.planned else "")
    return (place.stage or "-", steps, number(newest), number(run.best), duration(run.seconds_left()))


def _heading(run: RunHistory) -> list[str]:
    place, left = run.place(), run.seconds_left()
    facts = [
        f"stage {place.stage}" + (f" ({place.index} of {place.stages})" if place.index else "") if place.stage else "",
        f"step {place.step:,}" + (f" of {place.steps:,}" if place.steps else ""),
        f"epoch {place.epoch} of {place.epochs}" if place.epochs else "",
        f"{place.done:,} of {place.planned:,} steps in total" if place.planned else "",
        f"{duration(left)} left" if left is not None else f"{duration(run.seconds())} in total",
        run.why,
    ]
    return [fact for fact in facts if fact]


def _charts(run: RunHistory) -> tuple[Chart, list[Chart]]:
    drawn = figures(run, BUCKETS)
    names = [*_SMALL, *(name for name in drawn if name.startswith("machine/"))]
    shown = [name for name in names if not (drawn[name].empty and name.endswith("_percent"))]
    return chart(drawn["train/loss"], 290), [chart(drawn[name], 140) for name in shown]


def _stage(name: str, event: Mapping[str, Any]) -> dict[str, Any]:
    accuracy = event.get("accuracy")
    cells = (
        number(event.get("loss")), number(event.get("perplexity")), "-" if accuracy is None else f"{accuracy:.1%}",
        number(event.get("answer_tokens")), f"{event.get('train_steps', 0):,.0f}",
        f"{event.get('train_tokens', 0):,.0f}",
    )  # fmt: skip
    return {"name": name, "kept": event.get("kept", True), "cells": cells}


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    total = event.get("total")
    step = "" if total is None else f"{total:,}"
    return {"time": clock(event["time"]), "step": step, "text": said(event), "trouble": is_trouble(event)}


def _data(folder: Path) -> dict[str, Any] | None:
    """The data report in short; None without one. The full report is beside the page."""
    try:
        facts = records.read_record(folder / "data_report.json", unsealed="")
    except records.Damaged as damage:
        return {"facts": [], "splits": [], "notes": [str(damage)]}
    if facts is None:
        return None
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in facts.get("rejected", {}).items()) or "none"
    rows = [
        ("dataset", str(facts.get("name"))),
        ("rows", f"{facts.get('rows', 0):,}"),
        ("rejected", rejected),
        ("duplicates", f"{facts.get('exact_duplicates', 0):,} exact, {facts.get('near_duplicates', 0):,} near"),
        ("tokens per sample", ", ".join(f"{name} {value:,}" for name, value in facts.get("lengths", {}).items())),
        ("supervised", f"{facts.get('supervised_share', 0):.1%} of {facts.get('tokens', 0):,} tokens"),
        ("fingerprint", str(facts.get("fingerprint"))),
    ]
    splits = [
        (name, *(split.get(key, 0) for key in ("samples", "groups", "tokens", "supervised")))
        for name, split in facts.get("splits", {}).items()
    ]
    return {"facts": rows, "splits": splits, "notes": list(facts.get("notes", ()))}
