"""The child process that handles answers: it closes itself off, then checks one answer per line of its input.

    python -m hafs.evaluation.rom.worker FOLDER MEMORY_BYTES    # jobs in and verdicts out are lines of JSON

Started by `bench.py`, which ends it when an answer takes too long.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from hafs.evaluation.rom import sandbox
from hafs.evaluation.rom.case_store import RowCases
from hafs.evaluation.rom.check import Executed, check
from hafs.evaluation.rom.check_task import check_task
from hafs.evaluation.rom.source import SYNTAXES
from hafs.evaluation.rom.task import RomTask
from hafs.evaluation.rom.toolchain import Assembler, assembler, missing, program

READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")
"""What a program needs in order to start: its libraries."""
LONGEST_FILE = 8 << 20


def main() -> None:
    """Check answers until the input ends."""
    folder = Path(sys.argv[1])
    found = {syntax: _assembler(syntax) for syntax in SYNTAXES}
    _close_off(folder, int(sys.argv[2]))
    print(json.dumps({"ready": [syntax for syntax, each in found.items() if each]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_done(json.loads(line), found, folder).as_json()), flush=True)


def _assembler(syntax: str) -> Assembler | None:
    try:
        return assembler(syntax)
    except LookupError:
        return None


def _close_off(folder: Path, memory: int) -> None:
    sandbox.limit(memory=memory, file_size=LONGEST_FILE)
    if not sandbox.why_not():
        programs = [path for name in ("ca65", "ld65", "asar") if (path := program(name))]
        sandbox.close_off(read=[*READABLE, *programs], write=[folder, "/dev/null"])


_ROWS: dict[str, RowCases] = {}
"""Rows that were asked about, since both sides of an evaluation answer each."""


def _row(told: dict[str, Any]) -> RowCases:
    key = json.dumps(told)
    if key not in _ROWS:
        _ROWS[key] = RowCases.of_json(told)
    return _ROWS[key]


def _done(job: dict[str, Any], found: dict[str, Assembler | None], folder: Path) -> Executed:
    used = found.get(job["syntax"])
    if used is None:
        return Executed(right=False, why=f"cannot be checked here: {missing(job['syntax'])}")
    work = folder / "job"
    work.mkdir()
    try:
        if job["task"]:
            task = RomTask.of_json(job["task"])
            return check_task(
                job["source"], task, seed=job["seed"], assembler=used, folder=work, seconds=job["seconds"]
            )
        row = _row(job["row"]) if job["row"] else None
        return check(job["source"], row, seed=job["seed"], assembler=used, folder=work, seconds=job["seconds"])
    except (OSError, MemoryError) as error:
        return Executed(right=False, why=f"used up what it may: {error}"[:200])
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
