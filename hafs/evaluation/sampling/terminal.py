"""The progress of a sampling, and what it found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hafs.evaluation.sampling.budget import Budget
from hafs.evaluation.sampling.journal import SampledAnswer


class Bar:
    """Answers so far, prompts with a right answer, cost, and time left.

    Args:
        console: Where it is shown.
        total: Most answers.
        done: Answers of earlier runs.
        budget: Knows what was spent.
    """

    def __init__(self, console: Console, *, total: int, done: int, budget: Budget) -> None:
        columns = (TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
        self.progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self.budget, self.right = budget, 0
        self.task = self.progress.add_task("", total=total, completed=done, said=self._said())

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def told(self, answer: SampledAnswer) -> None:
        """One more answer."""
        self.progress.update(self.task, advance=1, said=self._said())

    def checked(self, right: int) -> None:
        """A round was checked."""
        self.right = right
        self.progress.update(self.task, said=self._said())

    def _said(self) -> str:
        budget = self.budget
        of = "" if budget.most_dollars is None else f" of ${budget.most_dollars:g}"
        return f"{self.right} prompts right, ${budget.dollars:.4f}{of}, {budget.tokens:,} tokens"


def show(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Print what was asked, what was right, and where the rows are."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    cost = "cost unknown" if summary["dollars"] is None else f"${summary['dollars']:.4f}"
    say(
        f"asked      {summary['answers']:,} answers to {summary['prompts']:,} prompts, "
        f"{cost}, {summary['tokens']:,} tokens"
    )
    if summary["failed"]:
        say(f"failed     {summary['failed']:,} requests without an answer; the same command asks them again")
    if summary["budget_spent"]:
        say("budget     spent; a larger budget= continues")
    say("checked    " + ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in summary["counts"].items()))
    say(f"kept       {summary['rows']:,} rows, {summary['pairs']:,} pairs of a right and a wrong answer, in {folder}")
