"""A judge as a check: a sampled answer is right if another model finds it at least as good as the row's own."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from hafs.evaluation.judge import Ask, Judge, Pair
from hafs.evaluation.metrics import Metric, Parts, Said

TOGETHER = 8
"""Answers that are judged before their verdicts are written."""


class JudgeCheck(Metric):
    """Compares answers with the reference; its verdicts are kept in a file, so that none is paid for twice.

    Args:
        judge: How answers are compared.
        ask: Sends the judge's prompts.
        path: JSON Lines file of verdicts; it need not exist yet.
    """

    def __init__(self, judge: Judge, ask: Ask, path: Path) -> None:
        self.judge, self.ask, self.path = judge, ask, path
        self._known = _read(path)

    def prepare(self, rows: Sequence[Said]) -> None:
        """Judge all answers that have no verdict yet."""
        due = list({_key(said): said for said in rows if said.answer and _key(said) not in self._known}.values())
        for start in range(0, len(due), TOGETHER):
            some = due[start : start + TOGETHER]
            told = self.judge.preferences([_pair(said) for said in some], self.ask)
            self._note({_key(said): value for said, value in zip(some, told, strict=True) if value is not None})

    def parts(self, said: Said) -> Parts | None:
        """1 for an answer that is as good as the row's own; None where the judge gave no verdict."""
        value = self._known.get(_key(said)) if said.answer else None
        return None if value is None else Parts(float(value >= 0))

    def _note(self, told: dict[str, float]) -> None:
        lines = b"".join(orjson.dumps({"key": key, "value": value}) + b"\n" for key, value in told.items())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                lines = b"\n" + lines  # a kill cut the last line off
            file.write(lines)
        self._known |= told


def _read(path: Path) -> dict[str, float]:
    found = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = orjson.loads(line)
            found[str(row["key"])] = float(row["value"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue  # a line that a kill cut off
    return found


def _key(said: Said) -> str:
    """Identifies a question, its reference and an answer."""
    parts = [f"{message.role}: {message.content}" for message in said.prompt]
    return hashlib.sha256("\0".join([*parts, said.reference, said.answer or ""]).encode()).hexdigest()[:32]


def _pair(said: Said) -> Pair:
    return Pair(
        request=said.prompt[-1].content, reference=said.reference, first=said.reference, second=said.answer or ""
    )
