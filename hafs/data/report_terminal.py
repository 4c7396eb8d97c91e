"""Print the data report on a terminal of at least 80 columns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hafs.data.report import DataReport

_SHOWN = 6  # reasons, files and notes before "and n more"
_SAMPLE_CHARACTERS = 900
_MOST_KEYS = 60


def show(report: DataReport, console: Console) -> None:
    """Print the report; problems come last."""
    console.print(Text.assemble((f"dataset {report.name}", "bold"), f"  {_files(report)}"))
    console.print(_facts(report))
    console.print(_splits(report))
    if report.rejected:
        console.print(_rejects(report))
    for note in report.notes[:_SHOWN]:
        console.print(Text(f"note: {note}", style="yellow"))
    _sample(report, console)
    if report.refusal:
        console.print(Text(f"training would refuse: {report.refusal}", style="bold red"))


def _files(report: DataReport) -> str:
    names = list(report.files)
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more


def _facts(report: DataReport) -> Table:
    table = Table.grid(padding=(0, 2))
    bad = sum(report.rejected.values())
    formats = ", ".join(f"{count:,} {name}" for name, count in report.formats.items())
    lines = {
        "rows": f"{report.rows:,}" + (f" and {report.blank_lines:,} blank lines" if report.blank_lines else ""),
        "formats": formats or "none",
        "unused keys": report.unused_keys(_MOST_KEYS) or "none",
        "rejected": f"{bad:,} ({bad / max(1, report.rows):.1%})",
        "duplicates": f"{report.exact_duplicates:,} exact (dropped), {report.near_duplicates:,} near "
        + ("(dropped)" if report.near_dropped else "(kept in one split)"),
        "conflicts": f"{report.conflicts:,} prompts with more than one answer",
        "tokens": ", ".join(f"{name} {value:,}" for name, value in report.lengths.items()) or "none",
        "supervised": f"{report.supervised_share:.1%} of {report.tokens:,} tokens",
        "too long": _overlong(report),
    }
    for name, value in lines.items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _overlong(report: DataReport) -> str:
    if not report.overlong:
        return "none"
    done = ", ".join(f"{count:,} {name}" for name, count in report.overlong.items() if name != "rows")
    return f"{report.overlong['rows']:,} rows ({done}), {report.tokens_lost:,} tokens lost"


def _splits(report: DataReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("split")
    for name in ("samples", "groups", "tokens", "supervised"):
        table.add_column(name, justify="right")
    for name, size in report.splits.items():
        table.add_row(name, *(f"{value:,}" for value in (size.samples, size.groups, size.tokens, size.supervised)))
    return table


def _rejects(report: DataReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("rejected", justify="right")
    table.add_column("reason")
    table.add_column("for example", overflow="fold")
    for reason, count in list(report.rejected.items())[:_SHOWN]:
        example = report.reject_examples[reason][0]
        where = f"{example['file'].rpartition('/')[2]}:{example['line']}"
        table.add_row(f"{count:,}", reason, Text(f"{where} {example['message']}"))
    if len(report.rejected) > _SHOWN:
        table.add_row("", f"and {len(report.rejected) - _SHOWN} more reasons", "")
    return table


def _sample(report: DataReport, console: Console) -> None:
    if not report.sample:
        return
    console.print(Text("one sample; green is what the loss counts", style="dim"))
    text, left = Text(), _SAMPLE_CHARACTERS
    for part, supervised in report.sample:
        text.append(part[:left], style="green" if supervised else "")
        left -= len(part[:left])
    console.print(text if left else text.append(" ...", style="dim"))
