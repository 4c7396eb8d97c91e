"""Tasks of EleutherAI's lm-eval by name (the extra `lm-eval`), through the model that is loaded, adapter on or off.

Both sides see the same documents, so a difference has the same paired interval as any other figure. A figure is called
`TASK_METRIC`, `arc_easy_acc`, and rules of the gate may be about it.
"""

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hafs.config.check import did_you_mean
from hafs.core.errors import ConfigError, HafsError
from hafs.evaluation.figures import figure
from hafs.evaluation.intervals import Sides, compare
from hafs.runs.evaluation_record import Figure


@dataclass(frozen=True, kw_only=True)
class Harness:
    """Which tasks."""

    tasks: Sequence[str]
    """Names of tasks, groups or tags."""
    folder: str | None
    """Folder with your own tasks, as YAML."""
    limit: int | None
    """Documents per task; None: all."""


class Scores(NamedTuple):
    """One metric of one task on one side."""

    by_document: Mapping[int, float]
    higher_is_better: bool


def harness(tasks: Sequence[str], folder: str | None, limit: int | None) -> Harness | None:
    """The tasks to run; None where none are asked for.

    Raises:
        ConfigError: lm-eval is not installed, or does not have the task.
    """
    if not tasks:
        return None
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(f"tasks={','.join(tasks)} needs lm-eval, which is not installed",
                          hint="pip install 'hafs[lm-eval]'")  # fmt: skip
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(f"tasks_folder={folder!r} is not a folder")
    known = _manager(folder).all_tasks
    if unknown := [task for task in tasks if task not in known]:
        raise ConfigError(f"lm-eval has no task {unknown[0]!r}", hint=_near(unknown[0], known))
    return Harness(tasks=tasks, folder=folder, limit=limit)


def _near(word: str, known: Sequence[str]) -> str:
    near = did_you_mean(word, known)
    return near if near.startswith("did") else "lm-eval ls tasks lists all; tasks_folder= adds your own"


def _manager(folder: str | None) -> Any:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.tasks import TaskManager  # type: ignore

    return TaskManager(include_path=folder)


def scores(net: Any, tokenizer: Any, wanted: Harness, *, concurrency: int) -> dict[str, Scores]:
    """What a model scores, by `TASK_METRIC`; metrics without a number per document are left out.

    Raises:
        HafsError: A task's data cannot be loaded.
    """
    from lm_eval import simple_evaluate  # type: ignore

    from hafs.evaluation.harness_model import HarnessModel

    try:
        told: Any = simple_evaluate(
            model=HarnessModel(net, tokenizer, concurrency=concurrency), tasks=list(wanted.tasks), limit=wanted.limit,
            task_manager=_manager(wanted.folder), bootstrap_iters=0,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:160]
        raise HafsError(
            f"lm-eval could not run {', '.join(wanted.tasks)}: {why}", hint="tasks=[] leaves them out"
        ) from error
    return {
        f"{task}_{metric}": Scores(found, bool(higher))
        for task, documents in told["samples"].items()
        for metric, higher in told["higher_is_better"][task].items()
        if (found := _numbers(documents, metric))
    }


def _numbers(documents: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """A metric by document; of several answer filters, the last one's."""
    found = {document["doc_id"]: document.get(metric) for document in documents}
    return {i: float(value) for i, value in found.items() if isinstance(value, int | float)}


def task_figures(
    base: Mapping[str, Scores], tuned: Mapping[str, Scores], *, draws: int, seed: int
) -> dict[str, Figure]:
    """Both sides' scores over the documents that both have, with intervals."""
    found = {}
    for name in base.keys() & tuned.keys():
        left, right = base[name].by_document, tuned[name].by_document
        both = sorted(left.keys() & right.keys())
        ones = np.ones(len(both))
        sides = Sides(np.array([left[i] for i in both]), ones, np.array([right[i] for i in both]), ones)
        compared = compare(sides, lambda amount, weight: amount / weight, draws=draws, seed=seed)
        higher, share = base[name].higher_is_better, set(sides.base) | set(sides.tuned) <= {0.0, 1.0}
        found[name] = figure(
            compared,
            rows=len(both),
            groups=len(both),
            better="higher" if higher else "lower",
            unit="share" if share else "",
        )
    return dict(sorted(found.items()))
