"""Assembles: the code in an answer is code, says the assembler (ca65 of cc65, for the 65816)."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from pydantic import Field

from hafs.evaluation.metrics import Metric, Parts, Said
from hafs.evaluation.rom.source import code_of, is_whole, reads_files


@dataclass(frozen=True, kw_only=True)
class Assembles(Metric):
    """Share of answers whose code assembles, over the rows whose own answer has code that does.

    An answer without code, or cut in the middle of it, does not assemble.
    """

    command: str
    """The assembler."""
    cpu: str
    """As in `ca65 --cpu`."""
    seconds: Annotated[float, Field(gt=0)]
    """Longest time for one answer."""

    def missing(self) -> str:
        """Whether the assembler is there."""
        if shutil.which(self.command):
            return ""
        return f"{self.command} is not installed (it is part of cc65: apt install cc65)"

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        if said.answer is None or not self._right(code_of(said.reference)):
            return None
        return Parts(float(is_whole(said.answer) and self._right(code_of(said.answer))))

    def _right(self, code: str) -> bool:
        return bool(code) and assembles(code, self.command, self.cpu, self.seconds)


@cache
def assembles(code: str, command: str, cpu: str, seconds: float) -> bool:
    """Whether the assembler takes the code; names that it does not define are taken as imported.

    Code that reads other files is refused: what a model wrote must not look around on this machine.
    """
    if reads_files(code):
        return False
    try:
        done = subprocess.run(
            (command, "--cpu", cpu, "-U", "-o", "/dev/null", "/dev/stdin"),
            input=code + "\n", capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, UnicodeEncodeError):
        return False
    return done.returncode == 0
