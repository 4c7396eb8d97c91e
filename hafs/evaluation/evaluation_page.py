"""An evaluation as one HTML file: the data that `templates/evaluation.html.j2` shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from hafs.core.pages import render
from hafs.evaluation.evaluation_terminal import conclusion, interval, judged, number, signed
from hafs.evaluation.metrics import Said
from hafs.evaluation.outcome import Outcome
from hafs.runs.evaluation_record import Evaluation, Figure

SHOWN = 200
"""Rows whose answers are on the page; all are in evaluation_rows.jsonl."""


def page(outcome: Outcome) -> str:
    """The evaluation as an HTML page without scripts or external resources."""
    record, (left, right) = outcome.record, outcome.sheets
    pairs = list(zip(left.test, right.test, strict=True))
    return render(
        "evaluation/templates/evaluation.html.j2",
        title=f"Evaluation: {record.name}",
        record=record,
        conclusion=conclusion(outcome),
        left=left.label,
        right=right.label,
        figures=[_figure(name, figure) for name, figure in record.metrics.items()],
        intervals=forest(record.metrics),
        shown=[row([(left.label, a), (right.label, b)]) for a, b in pairs[:SHOWN]],
        more=len(pairs) - SHOWN,
        measured=_measured(record),
    )


def _figure(name: str, figure: Figure) -> dict[str, Any]:
    cells = [number(value, figure.unit) for value in (figure.base, figure.tuned)]
    cells += [signed(figure.difference, figure.unit), interval(figure), str(figure.rows)]
    return {
        "name": name,
        "unit": "" if figure.unit == "share" else figure.unit,
        "cells": cells,
        "judged": judged(figure),
    }


def forest(figures: Mapping[str, Figure], *, one_scale: bool = False) -> list[dict[str, Any]]:
    """A line for each interval in percent of its width, with better to the right and 0 in the middle.

    Args:
        figures: By name; those without an interval or a good direction are left out.
        one_scale: All are of one metric, so they share one scale.
    """
    drawn = {name: f for name, f in figures.items() if f.low is not None and f.better != "neither"}
    widest = max(map(_reach, drawn.values()), default=1.0)
    return [_interval(name, f, widest if one_scale else _reach(f)) for name, f in drawn.items()]


def _reach(figure: Figure) -> float:
    return max(abs(figure.low or 0.0), abs(figure.high or 0.0), abs(figure.difference)) or 1.0


def _interval(name: str, figure: Figure, reach: float) -> dict[str, Any]:
    scale = (1 if figure.better == "higher" else -1) * 50 / reach * 0.95
    low, high, at = (round(50 + scale * (value or 0.0), 1) for value in (figure.low, figure.high, figure.difference))
    ends = [signed(sign * reach, figure.unit) for sign in ((-1, 1) if figure.better == "higher" else (1, -1))]
    left, right = min(low, high), max(low, high)
    kind = judged(figure) or "open"
    return {"name": name, "kind": kind, "left": left, "width": round(right - left, 1), "at": at, "ends": ends}


def row(sides: Sequence[tuple[str, Said]], note: str = "") -> dict[str, Any]:
    """What the page shows of one row: the prompt, the reference, and what each side answered.

    Args:
        sides: Label and answer of each side.
        note: Shown in the folded line; empty: the loss of each side, in nats per token.
    """
    first = sides[0][1]
    losses = [(name, s.nats / s.supervised) for name, s in sides if s.nats is not None and s.supervised]
    prompt = "\n\n".join(f"{message.role}: {message.content}" for message in first.prompt)
    return {
        "short": " ".join(first.prompt[-1].content.split())[:140],
        "note": note or ", ".join(f"{name} {loss:.2f}" for name, loss in losses),
        "texts": [("prompt", prompt), ("reference", first.reference), *((name, _answer(said)) for name, said in sides)],
    }


def _answer(said: Said) -> str:
    if said.answer is None:
        return "(not asked)"
    return said.answer if said.ended else f"{said.answer} ... (cut at the limit)"


def _measured(record: Evaluation) -> list[tuple[str, str]]:
    return [
        ("dataset", record.split.dataset),
        ("data fingerprint", record.split.fingerprint),
        ("test rows", f"{record.split.rows:,}, {record.split.tokens:,} supervised tokens"),
        ("against", record.base),
        ("adapter SHA-256", record.adapter_sha256),
        ("longest answer", f"{record.max_new_tokens} tokens"),
        ("measured", f"{record.date}, {record.seconds:.0f} s"),
        *((f"file {path}", digest) for path, digest in record.split.files.items()),
    ]
