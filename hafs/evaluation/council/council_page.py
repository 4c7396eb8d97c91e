"""The trial of a council as one HTML file: the data that `templates/council.html.j2` shows."""

from typing import Any

from hafs.core.pages import render
from hafs.evaluation.council.council_terminal import cell, metrics, routes
from hafs.evaluation.council.record import Trial, TrialRecord
from hafs.evaluation.evaluation_page import SHOWN, forest, row
from hafs.evaluation.evaluation_terminal import interval, number, signed


def page(trial: Trial) -> str:
    """The trial as an HTML page without scripts or external resources."""
    record = trial.record
    differences = {
        f"over {side}: {signed(over.difference, over.unit)} ({interval(over)})": over
        for side, found in record.against.items()
        if (over := found.get(record.headline))
    }
    return render(
        "evaluation/council/templates/council.html.j2",
        title=f"Council of {', '.join(record.experts)}",
        record=record,
        figures=[(metric, [cell(record, side, metric) for side in record.sides]) for metric in metrics(record)],
        intervals=forest(differences, one_scale=True),
        experts=_experts(record),
        shown=_rows(trial),
        more=len(trial.questions) - SHOWN,
        measured=_measured(record),
    )


def _experts(record: TrialRecord) -> list[list[str]]:
    unit = next(iter(record.sides.values()))[record.headline].unit
    return [
        [name, member.run, routes(member.routed), str(member.rows)]
        + [number(member.headline.get(side), unit) for side in record.sides]
        for name, member in record.experts.items()
    ]


def _rows(trial: Trial) -> list[dict[str, Any]]:
    shown = []
    for i, question in enumerate(trial.questions[:SHOWN]):
        answers = [(side, said[i]) for side, said in trial.sheets.items()][:-1]  # the last repeats an expert's
        shown.append(row(answers, f"{question.expert} to {', '.join(trial.routed[i]) or 'no expert'}"))
    return shown


def _measured(record: TrialRecord) -> list[tuple[str, str]]:
    return [
        ("router", record.router),
        ("synthesizer", record.synthesizer),
        ("providers", ", ".join(record.providers)),
        ("longest answer", f"{record.max_new_tokens} tokens"),
        ("measured", f"{record.date}, {record.seconds:.0f} s"),
        *((f"adapter SHA-256 of {name}", member.adapter_sha256) for name, member in record.experts.items()),
    ]
