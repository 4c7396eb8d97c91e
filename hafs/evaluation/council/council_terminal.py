"""The trial of a council on a terminal: the sides in columns, each expert's rows, the answer in one line."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hafs.evaluation.council.record import TrialRecord
from hafs.evaluation.evaluation_terminal import COLORS, judged, number


def show(console: Console, record: TrialRecord) -> None:
    """Print the trial."""
    console.print(_sides(record))
    console.print(Text("* the council differs significantly (95 %): green is better, red is worse"), soft_wrap=True)
    console.print(_experts(record))
    for name, why in record.skipped.items():
        console.print(Text(f"not measured: {name}: {why}"), soft_wrap=True)
    for side, count in record.failed.items():
        if count:
            console.print(Text(f"missing: {count} rows that {side} did not answer"), soft_wrap=True)
    console.print(Text(record.answer, style="bold"), soft_wrap=True)


def cell(record: TrialRecord, side: str, metric: str) -> tuple[str, str]:
    """A side's figure, with `better` or `worse` if the council differs significantly."""
    found = record.sides[side].get(metric)
    if found is None:
        return "-", ""
    figure = record.against.get(side, {}).get(metric)
    kind = judged(figure) if figure else ""
    return number(found.value, found.unit) + ("*" if kind else ""), kind


def metrics(record: TrialRecord) -> list[str]:
    """Every metric that at least one side has, in order."""
    return list(dict.fromkeys(name for found in record.sides.values() for name in found))


def _sides(record: TrialRecord) -> Table:
    rows = sum(member.rows for member in record.experts.values())
    table = Table(title=f"{rows} test rows of {len(record.experts)} experts", title_justify="left")
    table.add_column("metric", no_wrap=True)
    for side in record.sides:
        table.add_column(side, justify="right", overflow="fold")
    for metric in metrics(record):
        cells = [cell(record, side, metric) for side in record.sides]
        table.add_row(Text(metric), *(Text(text, style=COLORS[kind]) for text, kind in cells))
    return table


def _experts(record: TrialRecord) -> Table:
    table = Table(title=f"{record.headline} by whose rows they are", title_justify="left")
    for name in ("expert", "run", "rows", "routed to"):
        table.add_column(name, overflow="fold")
    for side in record.sides:
        table.add_column(side, justify="right", overflow="fold")
    unit = next(iter(record.sides.values()))[record.headline].unit
    for name, member in record.experts.items():
        table.add_row(
            Text(name), Text(member.run), str(member.rows), Text(routes(member.routed)),
            *(number(member.headline.get(side), unit) for side in record.sides),
        )  # fmt: skip
    return table


def routes(routed: object) -> str:
    """The experts that rows were routed to, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in dict(routed).items())  # type: ignore[call-overload]
