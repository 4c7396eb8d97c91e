"""Prints an evaluation: every figure with its interval, the verdict for each rule, a few answers side by side."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hafs.core.errors import GateRefused
from hafs.evaluation.general import NAME as FORGETTING
from hafs.evaluation.outcome import Outcome
from hafs.evaluation.row_checks import RowCheck, examples
from hafs.runs.evaluation_record import Evaluation, Figure, Ruling

COLORS = {"better": "green", "worse": "red", "": ""}


def show(console: Console, outcome: Outcome, *, shown: int = 2) -> None:
    """Print an evaluation.

    Args:
        console: Where it is printed.
        outcome: The evaluation.
        shown: Rows whose answers are shown side by side.
    """
    console.print(_figures(outcome))
    for name, why in outcome.record.skipped.items():
        console.print(f"not measured: {name}: {why}", highlight=False, markup=False, soft_wrap=True)
    if table := _answers(outcome, shown):
        console.print(table)
    for ruling in outcome.record.verdict.rules:
        mark = Text("holds    ", style="green") if ruling.passed else Text("does not ", style="red")
        console.print(Text("gate       ") + mark + Text(ruling.words), soft_wrap=True, highlight=False)
    console.print(Text(conclusion(outcome), style="bold"), soft_wrap=True, highlight=False)


def conclusion(outcome: Outcome) -> str:
    """The answer in one sentence."""
    record, (left, right) = outcome.record, outcome.sheets
    better = [name for name, figure in record.metrics.items() if judged(figure) == "better"]
    worse = [name for name, figure in record.metrics.items() if judged(figure) == "worse"]
    parts = [
        f"significantly {word} on {', '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names
    ]
    sure, few = " and ".join(parts), _few(record)
    told = "; ".join([sure, *few] if sure else few or ["no significant difference in any metric"])
    if right.label != "tuned":
        return f"{right.label} compared with {left.label}: {told}"
    verdict = "the gate passed" if record.verdict.passed else "the gate refused"
    return f"{record.name}: {verdict if record.verdict.rules else 'no rules'}; {told}"


def _few(record: Evaluation) -> list[str]:
    """Which figures have too few rows or prompts, and how few."""
    found: dict[str, list[str]] = {}
    for name, figure in record.metrics.items():
        if figure.unsure.startswith("too few"):
            found.setdefault(figure.unsure.partition(": ")[2], []).append(name)
    return [f"too few to say on {', '.join(names)} ({why})" for why, names in found.items()]


def judged(figure: Figure) -> str:
    """`better` or `worse` if the whole interval is on one side of 0, else empty."""
    if figure.better == "neither" or figure.low is None or figure.high is None or figure.low <= 0 <= figure.high:
        return ""
    return "better" if (figure.low > 0) == (figure.better == "higher") else "worse"


def number(value: float | None, unit: str) -> str:
    """A figure formatted for display."""
    if value is None:
        return "-"
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def signed(value: float | None, unit: str) -> str:
    """A difference with its sign; shares are in percentage points."""
    if value is None:
        return "-"
    digits = ".3g" if abs(value) < 1000 else ".0f"
    shown = f"{100 * value:.1f}" if unit == "share" else f"{value:,{digits}}"
    return shown if value < 0 else f"+{shown}"


def interval(figure: Figure) -> str:
    """Both ends of a difference's interval."""
    if figure.low is None:
        return figure.unsure.partition(":")[0] or "too few to say"
    return f"{signed(figure.low, figure.unit)} .. {signed(figure.high, figure.unit)}"


def _figures(outcome: Outcome) -> Table:
    record, (left, right) = outcome.record, outcome.sheets
    table = Table(title=f"{record.split.rows} test rows of {record.split.dataset}", title_justify="left")
    table.add_column("metric", no_wrap=True)
    for name in (left.label, right.label, "difference", "95 % interval"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("rows", justify="right")
    for name, figure in record.metrics.items():
        table.add_row(
            Text(name),
            number(figure.base, figure.unit),
            number(figure.tuned, figure.unit),
            Text(signed(figure.difference, figure.unit), style=COLORS[judged(figure)]),
            interval(figure),
            str(figure.rows),
        )
    return table


def _answers(outcome: Outcome, count: int) -> Table | None:
    left, right = outcome.sheets
    answered = [i for i, (a, b) in enumerate(zip(left.test, right.test, strict=True)) if a.answer and b.answer]
    if not answered or not count:
        return None
    checks = outcome.checks or [None] * len(left.test)
    table = Table(title="the same prompts", title_justify="left", show_lines=True, expand=True)
    for name in ("prompt", left.label, right.label, "the row's own"):
        table.add_column(name, ratio=1, overflow="fold")
    for i in examples(checks, answered, count):
        a, b, check = left.test[i], right.test[i], checks[i]
        sides = (_with_verdict(said.answer or "", check, place) for place, said in enumerate((a, b)))
        table.add_row(Text(_clipped(a.prompt[-1].content)), *sides, Text(_clipped(a.reference)))
    return table


def _with_verdict(answer: str, check: RowCheck | None, place: int) -> Text:
    """An answer, and the verdict of the check."""
    if check is None:
        return Text(_clipped(answer))
    verdict = ("right", "green") if check.sides[place] else ("wrong", "red")
    return Text(f"{_clipped(answer)}\n").append(f"{check.name}: {verdict[0]}", style=verdict[1])


def _clipped(text: str, *, lines: int = 10) -> str:
    """The first lines; the page has the whole answers."""
    kept = [line for line in text.splitlines() if line.strip()]
    return "\n".join([*kept[:lines], "..."] if len(kept) > lines else kept)


def refuse(record: Evaluation) -> None:
    """End with the gate's exit code.

    Raises:
        GateRefused: A rule is not met.
    """
    failed = [ruling for ruling in record.verdict.rules if not ruling.passed]
    if failed:
        raise GateRefused(
            f"the gate refuses {record.name!r}: {'; '.join(ruling.words for ruling in failed)}",
            hint=f"{_advice(failed, record)}; or hafs register name={record.name} force=true, which its record states",
        )


def _advice(failed: Sequence[Ruling], record: Evaluation) -> str:
    """What to change before the next run, by the rules that failed."""
    metrics = {ruling.metric for ruling in failed}
    if any(metric in record.metrics and record.metrics[metric].unsure for metric in metrics):
        return "add rows, or hold out more of them: dataset.test_fraction=0.3, with another name="
    if metrics == {FORGETTING}:
        return "train with a lower rate or fewer epochs: stage.main.lr=3e-4 stage.main.epochs=2, with another name="
    return "train on more rows, or for more epochs: stage.main.epochs=, with another name="
