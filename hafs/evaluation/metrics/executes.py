"""Executes: what an answer does is what was asked, as an emulated 65816 or a fake of the editor shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from hafs.chat import Conversation
from hafs.evaluation.metrics import Metric, Parts, Said
from hafs.evaluation.rom.bench import RomJob, check_all
from hafs.evaluation.rom.case_store import RowCases, key_of, read_cases
from hafs.evaluation.rom.check import NO_CODE, Executed
from hafs.evaluation.rom.fake_editor import FakeEditor, same_effect
from hafs.evaluation.rom.source import code_of, dialect, guessed_note, is_whole
from hafs.evaluation.rom.task import RomTask
from hafs.evaluation.rom.toolchain import missing

EDITOR = FakeEditor()


@dataclass(frozen=True, kw_only=True)
class Executes(Metric):
    """Share of answers that do what was asked, over the rows whose answers can be run.

    Rows with cases: the routine is assembled, run, and compared: memory, registers, flags that were asked for; widths,
    D, data bank and stack given back; nothing else changed; within limits of instructions and bytes. An answer that
    repeats the prompt's code is wrong.

    Rows that offer tools of the YAZE editor: the calls run on a fake of it, and return what the row's own calls return;
    no call where the user is owed words. An answer that sums up a result is not counted.
    """

    cases: Sequence[str]
    """JSONL files with the cases of rows (see data/README.md)."""
    seed: Annotated[int, Field(ge=0)]
    """Seed of the case that is drawn at scoring time, and of unset memory and registers."""
    seconds: Annotated[float, Field(gt=0)]
    """Time limit per answer."""
    workers: Annotated[int, Field(gt=0)] | None
    """Processes that check answers; null: one per core."""
    _known: dict[tuple[str, str, str], Executed] = field(default_factory=dict, init=False, repr=False, compare=False)

    def missing(self) -> str:
        """Check that the cases can be read and an assembler is installed."""
        try:
            self._cases_of_rows()
        except (OSError, ValueError, KeyError) as error:
            return f"the cases of {', '.join(self.cases)} cannot be read ({type(error).__name__})"
        found = [missing(syntax) for syntax in ("ca65", "asar")]
        return "" if "" in found else found[0]

    def prepare(self, rows: Sequence[Said]) -> None:
        """Check all answers, in several processes."""
        pairs = [(said, text) for said in rows for text in (said.answer, *said.samples) if text is not None]
        self.verdicts([(said.prompt, text, _syntax(said)) for said, text in pairs])

    def note(self, rows: Sequence[Said]) -> str:
        """The number of guessed dialects."""
        return guessed_note([code_of(said.reference) for said in rows if not said.syntax and self.applies(said)])

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        if said.answer is not None and asks_the_editor(said):
            return Parts(float(same_effect(said.expected_calls, said.calls, EDITOR)))
        if said.answer is None or not self.applies(said):
            return None
        return Parts(float(self.right(said, said.answer)))

    def right(self, said: Said, text: str) -> bool:
        """Whether a text is a right answer to a row."""
        return self.verdicts([(said.prompt, text, _syntax(said))])[0].right

    def applies(self, said: Said) -> bool:
        """Whether the row has cases for a routine."""
        return asked_in(said.prompt) in self._cases_of_rows()

    def verdicts(
        self,
        answers: Sequence[tuple[Conversation | str, str, str]],
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Executed]:
        """The results of running answers, in their order; each is run once.

        Args:
            answers: For each: the prompt (the conversation, or the text of its last user turn), the answer's text, and
                its dialect (empty: guessed).
            progress: Called with the number of answers that are done.
        """
        asked = [self._job(prompt, text, syntax) for prompt, text, syntax in answers]
        due = {key: job for key, job in asked if job is not None and key not in self._known}
        done = check_all(list(due.values()), workers=self.workers, seconds=self.seconds, progress=progress)
        self._known.update(zip(due, done, strict=True))
        return [self._known[key] if job is not None else NO_CODE for key, job in asked]

    def _job(self, prompt: Conversation | str, text: str, syntax: str) -> tuple[tuple[str, str, str], RomJob | None]:
        row, code = self._cases_of_rows().get(asked_in(prompt)), code_of(text) if is_whole(text) else ""
        syntax = dialect(syntax, code)
        key = (asked_in(prompt), syntax, code)
        return key, RomJob(source=code, syntax=syntax, row=row, seed=self.seed) if row and code else None

    def _cases_of_rows(self) -> Mapping[str, RowCases | RomTask]:
        return read_cases(tuple(self.cases))


def _syntax(said: Said) -> str:
    """The dialect of the row; if it names none, it is guessed from the reference."""
    return dialect(said.syntax, code_of(said.reference))


def asks_the_editor(said: Said) -> bool:
    """Whether a row offers tools of the editor alone, and a call or a refusal is due: not the words for a result."""
    offered = {tool["function"]["name"] for tool in said.prompt[0].tools} if said.prompt else set()
    due = bool(said.expected_calls) or (bool(offered) and said.prompt[-1].role == "user")
    return due and bool(offered) and offered <= EDITOR.tools


def asked_in(prompt: Conversation | str) -> str:
    """The key of the last user turn."""
    if isinstance(prompt, str):
        return key_of(prompt)
    return key_of(next((message.content for message in reversed(prompt) if message.role == "user"), ""))
