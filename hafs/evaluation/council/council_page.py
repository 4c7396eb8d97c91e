"""The trial of a council as one HTML file."""

from html import escape

from hafs.evaluation.council.council_terminal import cell, metrics, routes
from hafs.evaluation.council.record import Record, Trial
from hafs.evaluation.evaluation_page import SHOWN, document, forest, row, table
from hafs.evaluation.evaluation_terminal import interval, number, signed


def page(trial: Trial) -> str:
    """The whole page."""
    record = trial.record
    differences = {
        f"over {side}: {signed(over.difference, over.unit)} ({interval(over)})": over
        for side, found in record.against.items()
        if (over := found.get(record.headline))
    }
    return document(
        f"Council of {', '.join(record.experts)}",
        f"<p class=verdict>{escape(record.answer)}</p>",
        _sides(record),
        f"<h2>The council's {escape(record.headline)} over each side's, with 95 % intervals</h2>"
        + forest(differences, one_scale=True),
        _experts(record),
        "".join(f"<p>Not measured: {escape(name)}: {escape(why)}</p>" for name, why in record.skipped.items()),
        "<h2>Rows</h2>" + _rows(trial),
        _facts(record),
    )


def _sides(record: Record) -> str:
    rows = [
        [escape(metric)] + [f"<span class='{kind}'>{text}</span>" for text, kind in cells]
        for metric in metrics(record)
        if (cells := [cell(record, side, metric) for side in record.sides])
    ]
    note = "<p class=dim>* the council surely differs: green, it is better; red, it is worse.</p>"
    return "<h2>All sides</h2>" + table(["metric", *map(escape, record.sides)], rows, numbers_from=1) + note


def _experts(record: Record) -> str:
    unit = next(iter(record.sides.values()))[record.headline].unit
    rows = [
        [escape(name), escape(member.run), escape(routes(member.routed)), str(member.rows)]
        + [number(member.headline.get(side), unit) for side in record.sides]
        for name, member in record.experts.items()
    ]
    head = ["expert", "run", "its rows went to", "rows", *map(escape, record.sides)]
    return f"<h2>{escape(record.headline)} by whose rows they are</h2>" + table(head, rows, numbers_from=3)


def _rows(trial: Trial) -> str:
    shown = []
    for i, question in enumerate(trial.questions[:SHOWN]):
        answers = [(side, said[i]) for side, said in trial.sheets.items()][:-1]  # the last repeats an expert's
        told = f"{question.expert} to {', '.join(trial.routed[i]) or 'nobody'}"
        shown.append(row(answers, told))
    more = len(trial.questions) - SHOWN
    return "".join(shown) + (f"<p class=dim>{more:,} more are in evaluation_rows.jsonl.</p>" if more > 0 else "")


def _facts(record: Record) -> str:
    facts = {
        "router": record.router,
        "synthesizer": record.synthesizer,
        "providers": ", ".join(record.providers),
        "longest answer": f"{record.max_new_tokens} tokens",
        "measured": f"{record.date}, {record.seconds:.0f} s",
    } | {f"adapter SHA-256 of {name}": member.adapter_sha256 for name, member in record.experts.items()}
    return "<h2>What was measured on what</h2>" + table([], [[escape(k), escape(v)] for k, v in facts.items()])
