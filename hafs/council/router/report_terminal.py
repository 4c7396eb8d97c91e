"""Prints a router's report."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from hafs.council.router import Panel
from hafs.council.router.routing_report import Report


def show_report(name: str, report: Report) -> None:
    """Print the figures of a router on held-out questions."""
    several = "" if report.exact_several is None else f", {report.exact_several:.1%} of those for several experts"
    console = Console(highlight=False)
    console.print(f"router {name}, {report.rows} questions: {report.exact:.1%} exactly right{several}", soft_wrap=True)
    console.print(f"Brier {report.brier:.3f}, calibration error {report.calibration_error:.3f} (0 is best, of both)")
    console.print(f"{report.median_ms:.2f} ms per question (median), {report.slowest_ms:.1f} ms at most")
    table = Table("decided by", "questions", "right", box=None)
    for who, (count, share) in report.decided_by.items():
        table.add_row(who, str(count), f"{share:.0%}")
    console.print(table)
    table = Table("expert", "precision", "recall", box=None)
    for expert, (precision, recall) in report.by_expert.items():
        table.add_row(expert, f"{precision:.0%}", f"{recall:.0%}")
    console.print(table)


def show_wrong(report: Report) -> None:
    """Print each wrong routing: the right experts, the picked experts, the question."""
    table = Table("right", "picked", "question")
    for question, right, picked in report.wrong:
        table.add_row(right, picked, question)
    Console(highlight=False, markup=False).print(table if report.wrong else "none was wrong")


def show_fit(before: Panel, fitted: Panel, *, rows: int) -> None:
    """Print the fitted thresholds as overrides."""
    words = list(_changed(before, fitted))
    said = " ".join(words) if words else "nothing better than the thresholds as they are"
    print(f"fitted to {rows} other questions: {said}")


def _changed(before: Panel, fitted: Panel) -> Iterator[str]:
    for name, expert in fitted.experts.items():
        if expert.threshold != before.experts[name].threshold:
            yield f"expert.{name}.threshold={expert.threshold:g}"
    if fitted.multi_threshold != before.multi_threshold:
        yield f"multi_threshold={fitted.multi_threshold:g}"
