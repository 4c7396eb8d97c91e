"""One sampling, from prompts to rows: asks in rounds, checks each round, writes what is kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from hafs.chat import Conversation
from hafs.core import durable, records
from hafs.core.errors import RunError
from hafs.evaluation.metrics import Metric
from hafs.evaluation.sampling.asking import Asker, SampleRequest
from hafs.evaluation.sampling.budget import Budget
from hafs.evaluation.sampling.checking import Proof, proofs
from hafs.evaluation.sampling.journal import AnswerJournal, SampledAnswer
from hafs.evaluation.sampling.keeping import KeptRows, keep
from hafs.evaluation.sampling.prompts import SamplingPrompt


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """What is asked, and when to stop."""

    k: int
    """Most answers to a prompt."""
    rows: int | None
    """Stop when so many prompts have a right answer; None: never."""
    until_right: bool
    """Ask a prompt again only while it has no right answer."""
    concurrency: int
    """Requests in flight."""
    dollars: float | None
    tokens: int | None
    threshold: float
    """Minimum similarity of near duplicates."""
    settings: Mapping[str, Any]
    """What decides the answers: another value needs another folder."""


class Sampler:
    """Asks, checks and keeps; the same call again continues where it stopped.

    Args:
        folder: Gets answers.jsonl (the journal), rows.jsonl, pairs.jsonl and summary.json.
        prompts: What may be asked.
        model: A LangChain chat model.
        metrics: The checks, in the order in which they are tried.
        apart: Held-out conversations, which no kept row may resemble.
        plan: What is asked.

    Raises:
        RunError: The folder has answers that other settings gave, or another process works in it.
    """

    def __init__(
        self,
        folder: Path,
        prompts: Sequence[SamplingPrompt],
        *,
        model: Any,
        metrics: Mapping[str, Metric],
        apart: Sequence[Conversation],
        plan: SamplingPlan,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = durable.lock(folder / ".lock", seconds=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise RunError(f"another process is at work in {folder}", hint="wait, or folder=OTHER") from error
        _same_settings(folder / "settings.json", plan.settings)
        self.folder, self.plan, self.metrics, self.apart = folder, plan, metrics, apart
        self.prompts = {prompt.id: prompt for prompt in prompts}
        self.journal = AnswerJournal(folder / "answers.jsonl")
        self.budget = Budget(plan.dollars, plan.tokens, self.journal.answers.values())
        self.asker = Asker(model, self.journal, self.budget, concurrency=plan.concurrency)
        self.proven: dict[str, Proof] = {}

    def run(
        self, told: Callable[[SampledAnswer], None] = lambda _: None, checked: Callable[[int], None] = lambda _: None
    ) -> dict[str, Any]:
        """Ask round after round: one answer to each prompt, a second one, ... Returns the summary.

        Args:
            told: Called after each answer.
            checked: Called after each round with the number of prompts that have a right answer.

        Raises:
            HafsError: No provider answers. What was answered is kept: the same command continues.
        """
        self.asker.told = told
        spent = False
        try:
            for draw in range(self.plan.k):
                self._check()
                checked(len(self._right()))
                if spent or self._enough():
                    break
                spent = not self.asker.ask(self._round(draw))
        finally:
            self._check()
            checked(len(self._right()))
            kept = self._write(budget_spent=spent)
        return kept

    def close(self) -> None:
        """Close the journal and release the folder."""
        self.journal.close()
        self._lock.release()

    def questions(self) -> int:
        """Most answers that this sampling asks for."""
        return len(self.prompts) * self.plan.k

    def _round(self, draw: int) -> list[SampleRequest]:
        done = self._right() if self.plan.until_right else set()
        return [SampleRequest(prompt, draw) for prompt in self.prompts.values() if prompt.id not in done]

    def _enough(self) -> bool:
        return self.plan.rows is not None and len(self._right()) >= self.plan.rows

    def _right(self) -> set[str]:
        """Ids of the prompts that have a right answer."""
        return {self.journal.answers[key].prompt for key, proof in self.proven.items() if proof.right}

    def _check(self) -> None:
        new = [a for key, a in self.journal.answers.items() if key not in self.proven and a.prompt in self.prompts]
        if new:
            self.proven |= {a.key: proof for a, proof in zip(new, proofs(new, self.prompts, self.metrics), strict=True)}

    def _write(self, *, budget_spent: bool) -> dict[str, Any]:
        answers = [self.journal.answers[key] for key in self.proven]
        kept = keep(answers, list(self.proven.values()), self.prompts, threshold=self.plan.threshold, apart=self.apart)
        kept.rows = kept.rows[: self.plan.rows]
        durable.write_text(self.folder / "rows.jsonl", _lines(kept.rows))
        durable.write_text(self.folder / "pairs.jsonl", _lines(kept.pairs))
        summary = self._summary(answers, kept, budget_spent)
        records.write_record(self.folder / "summary.json", summary)
        return summary

    def _summary(self, answers: Sequence[SampledAnswer], kept: KeptRows, budget_spent: bool) -> dict[str, Any]:
        unknown = any(answer.cost is None for answer in answers)
        return {
            "prompts": len(self.prompts),
            "answers": len(answers),
            "failed": len(self.asker.failed),
            "rows": len(kept.rows),
            "pairs": len(kept.pairs),
            "counts": dict(sorted(kept.counts.items())),
            "dollars": None if unknown else round(self.budget.dollars, 6),
            "tokens": self.budget.tokens,
            "budget_spent": budget_spent,
        }


def _same_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Record what decides the answers, or compare it with what the folder's answers were asked with."""
    try:
        before = records.read_record(path)
    except durable.Damaged as damage:
        raise RunError(str(damage), hint="folder=NEW asks again") from damage
    if before is None:
        records.write_record(path, settings)
        return
    changed = [
        f"{key}: {before.get(key)!r} -> {value!r}" for key, value in settings.items() if before.get(key) != value
    ]
    if changed:
        raise RunError(
            f"{path.parent} has answers that were asked with other settings: {'; '.join(changed)}",
            hint="folder=NEW asks again",
        )


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
