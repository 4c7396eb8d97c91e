"""The suite of ROM-hacking tasks, for anything that answers prompts: a model, a council, a provider."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafs.core import durable
from hafs.core.errors import ConfigError
from hafs.core.pages import render
from hafs.evaluation.rom.bench import RomJob, check_all
from hafs.evaluation.rom.check import NO_CODE, Executed
from hafs.evaluation.rom.source import code_of, is_whole
from hafs.evaluation.rom.task import RomTask, read_tasks
from hafs.evaluation.rom.toolchain import missing

NAME = "rom"
"""In `tasks=`."""
FIGURE = "rom_executes"
ANSWER_TOKENS = 384
"""Longest answer to a task; a limit above it is kept."""
NO_ANSWER = Executed(right=False, why="there is no answer")
AskTasks = Callable[[Sequence[str]], Sequence[str | None]]


@dataclass(frozen=True, kw_only=True)
class RomSuite:
    """The tasks, and how answers are checked."""

    tasks: Sequence[RomTask]
    seed: int
    """Of what unset memory and registers hold."""


@dataclass(frozen=True, kw_only=True)
class TaskAnswer:
    """An answer to a task, and the result of running it."""

    task: RomTask
    answer: str | None
    verdict: Executed


def rom_suite(path: str, *, seed: int, rows: int | None) -> RomSuite:
    """The tasks of a file.

    Args:
        path: The file.
        seed: Of what unset memory and registers hold.
        rows: At most so many tasks of each family; None: all.

    Raises:
        DataError: The file holds no tasks.
        ConfigError: The assembler of a task is missing.
    """
    seen: Counter[str] = Counter()
    tasks = []
    for task in read_tasks(path):
        seen[task.family] += 1
        if rows is None or seen[task.family] <= rows:
            tasks.append(task)
    for syntax in sorted({task.syntax for task in tasks}):
        if why := missing(syntax):
            raise ConfigError(f"tasks={NAME} cannot be run: {why}")
    return RomSuite(tasks=tasks, seed=seed)


def put_tasks(suite: RomSuite, ask: AskTasks) -> list[TaskAnswer]:
    """Ask every task and run every answer.

    Args:
        suite: The tasks.
        ask: Answers prompts, in their order; None: it has none.
    """
    told = ask([task.prompt for task in suite.tasks])
    codes = [code_of(answer) if answer is not None and is_whole(answer) else "" for answer in told]
    due = [(task, code) for task, code in zip(suite.tasks, codes, strict=True) if code]
    jobs = [RomJob(source=code, syntax=task.syntax, row=task, seed=suite.seed) for task, code in due]
    ran = iter(check_all(jobs))
    verdicts = [next(ran) if code else NO_ANSWER if answer is None else NO_CODE
                for answer, code in zip(told, codes, strict=True)]  # fmt: skip
    return [
        TaskAnswer(task=task, answer=answer, verdict=verdict)
        for task, answer, verdict in zip(suite.tasks, told, verdicts, strict=True)
    ]


def summary(label: str, told: Sequence[TaskAnswer]) -> str:
    """How many tasks are right, by family."""
    right = Counter(each.task.family for each in told if each.verdict.right)
    count = Counter(each.task.family for each in told)
    families = ", ".join(f"{family} {right[family]}/{count[family]}" for family in sorted(count))
    return f"{label}: {right.total()} of {len(told)} tasks right ({families})"


def write_tasks(folder: Path, sides: Mapping[str, Sequence[TaskAnswer]]) -> list[Path]:
    """Write the page and the answers.

    Args:
        folder: Where to; it is made.
        sides: By label: the answers to the same tasks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, rows = folder / "rom_tasks.html", folder / "rom_tasks.jsonl"
    told = [_row(each) for each in zip(*sides.values(), strict=True)]
    lines = [
        {"id": task.id, "family": task.family, "prompt": task.prompt}
        | {label: {"answer": a.answer, **a.verdict.as_json()} for label, a in zip(sides, each, strict=True)}
        for each in zip(*sides.values(), strict=True)
        for task in (each[0].task,)
    ]
    durable.write_text(rows, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    words = [summary(label, answers) for label, answers in sides.items()]
    durable.write_text(page, render("evaluation/templates/rom_tasks.html.j2", title="ROM tasks: " + ", ".join(sides),
                                    words=words, labels=list(sides), rows=told))  # fmt: skip
    return [page, rows]


def _row(each: Sequence[TaskAnswer]) -> dict[str, Any]:
    task = each[0].task
    sides = [
        {
            "right": said.verdict.right,
            "why": said.verdict.why or f"right: {said.verdict.size} bytes, {said.verdict.steps} instructions",
            "ran": said.verdict.ran,
            "answer": said.answer or "",
        }
        for said in each
    ]
    return {"id": task.id, "family": task.family, "prompt": task.prompt, "sides": sides}
