"""Assembles: the assembler of its dialect accepts the code in an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from hafs.evaluation.metrics import Metric, Parts, Said
from hafs.evaluation.rom.bench import RomJob, check_all
from hafs.evaluation.rom.source import code_of, dialect, guessed_note, is_whole
from hafs.evaluation.rom.toolchain import missing


@dataclass(frozen=True, kw_only=True)
class Assembles(Metric):
    """Share of answers whose code assembles, over the rows whose own answer has code that does.

    ca65 takes names that the code does not define as imported. An answer without code, or cut in the middle of it, does
    not assemble.
    """

    seconds: Annotated[float, Field(gt=0)]
    """Time limit per answer."""
    workers: Annotated[int, Field(gt=0)] | None
    """Processes that check answers; null: one per core."""
    _known: dict[tuple[str, str], bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def missing(self) -> str:
        """Whether an assembler is there."""
        found = [missing(syntax) for syntax in ("ca65", "asar")]
        return "" if "" in found else found[0]

    def note(self, rows: Sequence[Said]) -> str:
        """The number of guessed dialects."""
        return guessed_note([code_of(said.reference) for said in rows if not said.syntax])

    def prepare(self, rows: Sequence[Said]) -> None:
        """Assemble all answers and references, in several processes."""
        self._assemble([pair for said in rows for pair in (_reference(said), _answer(said))])

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        if said.answer is None or not self._assemble([_reference(said)])[0]:
            return None
        return Parts(float(self._assemble([_answer(said)])[0]))

    def _assemble(self, codes: Sequence[tuple[str, str]]) -> list[bool]:
        due = [pair for pair in dict.fromkeys(codes) if pair[1] and pair not in self._known]
        jobs = [RomJob(source=code, syntax=syntax, row=None, seed=0) for syntax, code in due]
        done = check_all(jobs, workers=self.workers, seconds=self.seconds)
        self._known.update(zip(due, (verdict.right for verdict in done), strict=True))
        return [bool(pair[1]) and self._known[pair] for pair in codes]


def _reference(said: Said) -> tuple[str, str]:
    code = code_of(said.reference)
    return dialect(said.syntax, code), code


def _answer(said: Said) -> tuple[str, str]:
    """The answer's code in the dialect of its row."""
    whole = said.answer is not None and is_whole(said.answer)
    return _reference(said)[0], code_of(said.answer or "") if whole else ""
