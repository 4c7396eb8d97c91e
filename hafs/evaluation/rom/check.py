"""One answer, checked: assembled, compared with what the prompt shows, run on every case."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hafs.evaluation.rom.case_store import RowCases
from hafs.evaluation.rom.machine import run
from hafs.evaluation.rom.toolchain import Assembler, DoesNotAssemble


@dataclass(frozen=True, kw_only=True)
class Executed:
    """The result of running an answer."""

    right: bool
    """Whether every case holds."""
    why: str = ""
    """The first difference from what is required; empty: the answer is right."""
    size: int = 0
    """Bytes of machine code; 0: it does not assemble."""
    steps: int = 0
    """Instructions of all runs."""
    ran: str = ""
    """The machine code that was run, its beginning, in hexadecimal."""

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


NO_CODE = Executed(right=False, why="the answer has no code, or it was cut off")


def check(
    source: str, row: RowCases | None, *, seed: int, assembler: Assembler, folder: Path, seconds: float
) -> Executed:
    """Assemble an answer's code and run it on the cases of its row.

    Args:
        source: The code; empty: the answer has none.
        row: What must hold; None: it only has to assemble.
        seed: Of the case that is drawn, and of what unset memory and registers hold.
        assembler: Of the code's dialect.
        folder: An empty folder to work in.
        seconds: Longest time for an assembler.
    """
    if not source.strip():
        return NO_CODE
    try:
        if row is None:
            assembler.accepts(source, folder, seconds)
            return Executed(right=True)
        code = assembler.assemble(source, folder, seconds)
    except (DoesNotAssemble, UnicodeEncodeError) as error:
        return Executed(right=False, why=f"does not assemble: {error}")
    return run_all(code, row, seed=seed)


def run_all(code: bytes, row: RowCases, *, seed: int) -> Executed:
    """Run machine code on the cases of a row, up to the first that does not hold."""
    if code in row.shown and code != row.code:
        return Executed(right=False, why="repeats the code of the prompt", size=len(code))
    if len(code) > row.most_bytes:
        return Executed(right=False, why=f"is {len(code)} bytes long, allowed are {row.most_bytes}", size=len(code))
    steps = 0
    for number, (case, noise) in enumerate(row.trial(seed), 1):
        end = run(code, case, seed=noise, steps=row.steps, may_change=row.may_change)
        steps += end.steps
        if end.problems:
            return Executed(right=False, why=f"case {number}: {end.problems[0]}", size=len(code), steps=steps)
    return Executed(right=True, size=len(code), steps=steps)


def of_json(told: Mapping[str, Any]) -> Executed:
    """What `Executed.as_json` gave."""
    return Executed(**told)
