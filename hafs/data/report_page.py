"""The data report as one HTML file: the data that `templates/data_report.html.j2` shows."""

from typing import Any

from hafs.core.pages import render
from hafs.data.report import DataReport


def page(report: DataReport) -> str:
    """The report as an HTML page without scripts or external resources."""
    return render(
        "data/templates/data_report.html.j2",
        title=f"Data report: {report.name}",
        report=report,
        facts=_facts(report),
        splits=[(name, s.samples, s.groups, s.tokens, s.supervised) for name, s in report.splits.items()],
        lengths=_histogram(report),
        shares=_shares(report),
        reasons=_reasons(report),
        rejects=_rejects(report),
        conflicts=_conflicts(report),
    )


def _facts(report: DataReport) -> list[tuple[str, object]]:
    formats = ", ".join(f"{count:,} {name}" for name, count in report.formats.items())
    near = "near duplicates" + (", dropped" if report.near_dropped else ", kept in one split")
    return [
        ("rows", report.rows),
        ("blank lines", report.blank_lines),
        ("rejected", sum(report.rejected.values())),
        ("formats", formats),
        ("unused keys", report.unused_keys() or "none"),
        ("samples", report.samples),
        ("exact duplicates, dropped", report.exact_duplicates),
        (near, report.near_duplicates),
        ("prompts with more than one answer", report.conflicts),
        ("rows longer than max_length", report.overlong.get("rows", 0)),
        ("tokens lost from overlong rows", report.tokens_lost),
    ]


def _histogram(report: DataReport) -> dict[str, Any] | None:
    """Bars with their heights in percent; None without samples."""
    counts, edges = report.histogram["counts"], report.histogram["edges"]
    if not counts:
        return None
    most = max(counts)
    bars = [
        {
            "height": round(100 * count / most, 1),
            "told": f"{edges[place]} to {edges[place + 1] - 1} tokens: {count:,}",
        }
        for place, count in enumerate(counts)
    ]
    return {"bars": bars, "first": edges[0], "last": edges[-1] - 1}


def _shares(report: DataReport) -> list[tuple[str, float, str]]:
    shares = {name: size.supervised / size.tokens for name, size in report.splits.items() if size.tokens}
    return [(name, share, f"{share:.1%}") for name, share in shares.items()]


def _reasons(report: DataReport) -> list[tuple[str, float, str]]:
    most = max(report.rejected.values(), default=1)
    return [(name, count / most, f"{count:,}") for name, count in report.rejected.items()]


def _rejects(report: DataReport) -> list[tuple[str, ...]]:
    return [
        (reason, f"{example['file']}:{example['line']}", example["message"], example["excerpt"])
        for reason, examples in report.reject_examples.items()
        for example in examples
    ]


def _conflicts(report: DataReport) -> list[tuple[str, ...]]:
    return [
        (example["prompt"], " / ".join(example["answers"]), ", ".join(example["where"]))
        for example in report.conflict_examples
    ]
