"""The checks of `hafs doctor`; each is a function that yields findings and never raises."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import orjson
from rich.table import Table
from rich.text import Text

from hafs.planning.diagnostics import machine, software
from hafs.planning.diagnostics.finding import Finding

COLOURS = {"ok": "green", "note": "yellow", "broken": "bold red"}


def examine(*, time_source: str | None) -> list[Finding]:
    """Run all checks; each one precedes those that depend on it."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        software.python, software.versions, software.bad_releases, software.packaged_weights,
        machine.device, machine.four_bits, machine.disk, machine.memory, machine.permissions,
        lambda: machine.clock(time_source), software.tools, software.keys,
    ]  # fmt: skip
    return [finding for look in looks for finding in _safely(look)]


def _safely(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # a broken installation breaks in ways of its own
        name = getattr(look, "__name__", "look").replace("_", " ")
        first = (str(error).splitlines() or [""])[0]
        found.append(Finding(name=name, state="broken", said=f"{type(error).__name__}: {first}", todo="reinstall it"))
    return found


def table(findings: Sequence[Finding]) -> Table:
    """The findings as a table."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "", "found", "to do"):
        shown.add_column(name, overflow="fold")
    for finding in findings:
        mark = Text(finding.state, style=COLOURS[finding.state])
        shown.add_row(finding.name, mark, Text(finding.said), Text(finding.todo))
    return shown


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as JSON."""
    return orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode()
