"""The cases of a dataset's rows, by prompt: a JSONL file beside the rows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hafs.evaluation.rom.case import RomCase
from hafs.evaluation.rom.machine import RunEnd
from hafs.evaluation.rom.task import RomTask
from hafs.evaluation.rom.variants import drawn, observed

LEAST = 3
"""Runs of an answer, at least."""


@dataclass(frozen=True, kw_only=True)
class RowCases:
    """What an answer to one row must do."""

    key: str
    """Of the prompt, as `key_of` gives it."""
    family: str
    """The kind of row."""
    code: bytes
    """Machine code of the row's own answer."""
    shown: tuple[bytes, ...]
    """Machine code of routines that the prompt shows: repeating one does not count as an answer."""
    cases: tuple[RomCase, ...]
    """At least one."""
    most_bytes: int
    """An answer may be this long."""

    @cached_property
    def ends(self) -> list[RunEnd]:
        """How the row's own answer runs on the cases."""
        return observed(self.code, self.cases)

    @cached_property
    def may_change(self) -> frozenset[int]:
        """Cells that the row's own answer changes."""
        return frozenset().union(*(end.changed for end in self.ends))

    @cached_property
    def steps(self) -> int:
        """An answer is stopped after this many instructions: ten times what the row's own answer needs."""
        return 200 + 10 * max(end.steps for end in self.ends)

    def trial(self, seed: int) -> list[tuple[RomCase, int]]:
        """The cases to run, each with the seed of what unset memory and registers hold in it.

        One more is drawn from the seed; where none can be drawn, a known case comes again among other noise.
        """
        own = int(self.key[:8], 16)
        extra = drawn(self.code, self.cases, seed=own ^ seed, ends=self.ends)
        cases = [*self.cases, *([extra] if extra else [])]
        cases += [self.cases[-1]] * (LEAST - len(cases))
        return [(case, own + 0x9E37 * (seed + 1) + k) for k, case in enumerate(cases)]

    def as_json(self) -> dict[str, Any]:
        """The line of the file."""
        return {
            "key": self.key, "family": self.family, "code": self.code.hex(),
            "shown": [code.hex() for code in self.shown], "most_bytes": self.most_bytes,
            "cases": [case.as_json() for case in self.cases],
        }  # fmt: skip

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> "RowCases":
        """What `as_json` wrote.

        Raises:
            KeyError, ValueError: It is something else.
        """
        return cls(
            key=told["key"], family=told["family"], code=bytes.fromhex(told["code"]), most_bytes=told["most_bytes"],
            shown=tuple(map(bytes.fromhex, told["shown"])), cases=tuple(map(RomCase.of_json, told["cases"])),
        )  # fmt: skip


def key_of(prompt: str) -> str:
    """The key of a prompt, the last user turn: a hash that does not depend on white space."""
    return hashlib.sha256(" ".join(prompt.split()).encode()).hexdigest()[:16]


@cache
def read_cases(paths: tuple[str, ...]) -> dict[str, RowCases | RomTask]:
    """The cases in one or more files, by key; of a row whose answer is a patch, a task.

    Raises:
        OSError: A file cannot be read.
        ValueError, KeyError: A line is not a row's cases.
    """
    lines: Sequence[str] = [line for path in paths for line in Path(path).read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in lines if line.strip()]
    return {row["key"]: RomTask.of_json(row) if "kind" in row else RowCases.of_json(row) for row in rows}
