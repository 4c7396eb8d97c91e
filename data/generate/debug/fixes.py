"""What the code of a debug row must do once the proposed fix is applied, for rows whose fix can be applied."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hafs.evaluation.rom.case_store import RowCases, key_of
from hafs.evaluation.rom.check import run_all
from hafs.evaluation.rom.machine import register, run
from hafs.evaluation.rom.repair import repaired
from hafs.evaluation.rom.task import RomTask
from hafs.evaluation.rom.toolchain import Assembler, DoesNotAssemble, assembler

from ..asm.cases import cases_of
from ..asm.row import Row
from .case import Case

SECONDS = 10.0
_ANSWERED = ("a", "x", "y")


def case_records(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """A line for each row whose own fix can be applied, assembles, and changes what the code does."""
    with tempfile.TemporaryDirectory() as name:
        lines = [_line(case, assembler("ca65"), Path(name)) for case in cases]
    return [line for line in lines if line]


def _line(case: Case, tool: Assembler, folder: Path) -> dict[str, Any] | None:
    prompt = f"{case.instruction}\n\n{case.input}"
    source = repaired(prompt, case.output.rpartition("Fix: ")[2])
    fixed = _machine_code(source, tool, folder) if source else None
    if not fixed:
        return None
    if not case.code:
        return _built(key_of(prompt), source, fixed)
    before = _machine_code(case.code, tool, folder)
    return _ran(prompt, case, source, fixed, before) if before and case.runs else None


def _machine_code(source: str, tool: Assembler, folder: Path) -> bytes | None:
    try:
        return tool.assemble(source, folder, SECONDS)
    except DoesNotAssemble:
        return None


def _built(key: str, source: str, fixed: bytes) -> dict[str, Any]:
    """Code that the assembler refused: mended, it makes the bytes of the row's own fix."""
    task = RomTask(
        id=key, family="build", prompt="Mend it.", kind="bytes", answer=source, must_fail=(), syntax="ca65",
        expected=fixed.hex(),
    )  # fmt: skip
    return {"key": key} | task.as_json()


def _ran(prompt: str, case: Case, source: str, fixed: bytes, before: bytes) -> dict[str, Any] | None:
    """Code that did something wrong: mended, it does what it does with the row's own fix."""
    entry = replace(case.runs[0], out={}, end={}, stop=None)
    end = run(fixed, entry, seed=1)
    if end.problems:
        return None
    entry = replace(entry, end={name: register(end.cpu, name) for name in _ANSWERED if name in case.runs[0].end})
    row = Row(instruction=case.instruction, input=case.input, output="", broken=case.code, runs=(entry,), family="run")
    found = cases_of(row, fixed, [before])
    if not run_all(fixed, found, seed=3).right or run_all(before, _hidden(found), seed=3).right:
        return None
    return found.as_json()


def _hidden(row: RowCases) -> RowCases:
    """The row as if its prompt showed no code."""
    return replace(row, shown=())
