"""Repairs: the fix that a diagnosis proposes, applied to the code in its prompt, works."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field

from hafs.chat import Conversation
from hafs.evaluation.metrics import Metric, Parts, Said
from hafs.evaluation.metrics.diagnosis import parts_of
from hafs.evaluation.metrics.executes import Executes
from hafs.evaluation.rom.repair import repaired


@dataclass(frozen=True, kw_only=True)
class Repairs(Metric):
    """Share of diagnoses whose fix works, over the rows whose own fix can be applied and run.

    The `Fix:` line is applied to the code in the prompt. Code that the assembler refused must then make the bytes of
    the row's own fix; code that did something wrong must then do what it does with the row's own fix.
    """

    cases: Sequence[str]
    """JSONL files with what fixed code must do."""
    seed: Annotated[int, Field(ge=0)]
    """Seed of the case that is drawn at scoring time, and of unset memory and registers."""
    seconds: Annotated[float, Field(gt=0)]
    """Time limit per answer."""
    workers: Annotated[int, Field(gt=0)] | None
    """Processes that check answers; null: one per core."""

    @cached_property
    def _runner(self) -> Executes:
        return Executes(cases=self.cases, seed=self.seed, seconds=self.seconds, workers=self.workers)

    def missing(self) -> str:
        """Check that the cases can be read and an assembler is installed."""
        return self._runner.missing()

    def prepare(self, rows: Sequence[Said]) -> None:
        """Check all answers, in several processes."""
        self._runner.verdicts([self._fixed(said) for said in rows if self._runner.applies(said)])

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        if said.answer is None or not self._runner.applies(said):
            return None
        return Parts(float(self._runner.verdicts([self._fixed(said)])[0].right))

    def _fixed(self, said: Said) -> tuple[Conversation, str, str]:
        asked = next(message.content for message in reversed(said.prompt) if message.role == "user")
        source = repaired(asked, parts_of(said.answer or "").get("Fix", ""))
        return said.prompt, f"```asm\n{source}\n```", "ca65"
