"""Builds the evaluation from the command's config; refuses contradictory options before anything is loaded."""

from collections.abc import Callable, Sequence

from omegaconf import DictConfig

from hafs.config import build
from hafs.config.check import did_you_mean
from hafs.core.errors import ConfigError
from hafs.evaluation.council import of_council
from hafs.evaluation.council.members import seated
from hafs.evaluation.council.record import Trial
from hafs.evaluation.evaluation import JUDGE, Measuring, Opinion
from hafs.evaluation.gate import Gate
from hafs.evaluation.general import NAME as FORGETTING
from hafs.evaluation.general import general_set
from hafs.evaluation.harness import harness
from hafs.evaluation.judge import asking
from hafs.evaluation.rom.options import suite_of
from hafs.evaluation.rom.suite import NAME as ROM
from hafs.evaluation.subject import Subject, open_run
from hafs.runs.finished import find


def measuring(config: DictConfig) -> Measuring:
    """How the model is measured.

    Raises:
        DataError: The general set cannot be read.
        ConfigError: The judge has no provider, or lm-eval does not have a task.
    """
    general_set(config.general)  # the cheapest refusal first
    judge = build(config.judge)
    providers = [build(node) for node in (config.get("providers") or {}).values()]
    return Measuring(
        metrics={str(name): build(node) for name, node in config.metrics.items() if node},
        max_new_tokens=config.max_new_tokens,
        concurrency=config.concurrency,
        rows=config.rows,
        general=config.general,
        draws=config.draws,
        seed=config.seed,
        harness=harness([task for task in config.tasks if task != ROM], config.tasks_folder, config.tasks_limit),
        rom=suite_of(config),
        samples=config.samples,
        judge=None if judge is None else Opinion(judge, asking(judge, providers, build(config.policy))),
    )


def rules(config: DictConfig) -> Gate:
    """The gate.

    Raises:
        ConfigError: A rule names an unknown metric.
    """
    gate: Gate = build(config.gate)
    known = [*map(str, config.metrics), FORGETTING, JUDGE]
    of_tasks = tuple(f"{task}_" for task in config.tasks)
    if unknown := [metric for metric in gate.rules if metric not in known and not metric.startswith(of_tasks)]:
        raise ConfigError(
            f"gate.{unknown[0]} is a rule for an unknown metric; {did_you_mean(unknown[0], known)}",
            hint="metrics are listed in conf/metrics/default.yaml",
        )
    return gate


def subjects(config: DictConfig) -> Sequence[Subject]:
    """One run to compare with its base model, or two runs to compare with each other.

    Raises:
        ConfigError: One of the two runs is missing, or both kinds of comparison are requested.
        RunError: There is no such run, or it is not finished.
    """
    if not (config.a or config.b):
        return [open_run(find(config.name, what="evaluate"))]
    missing = [key for key in ("a", "b") if not config[key]]
    if missing or config.name:
        fact = f"{missing[0]}= is missing" if missing else "name= cannot be combined with a= and b="
        raise ConfigError(
            f"two runs are compared as a=RUN b=RUN: {fact}", hint="name=RUN compares one run with its base model"
        )
    if config.a == config.b:
        raise ConfigError(f"a and b are both {config.a!r}", hint="name=RUN compares a run with its base model")
    return [open_run(find(config.a, what="evaluate")), open_run(find(config.b, what="evaluate"))]


def scored(config: DictConfig, say: Callable[[str], None]) -> Trial:
    """The trial of the council that the config describes.

    Raises:
        ConfigError: A run is named together with the council, or the headline is not a metric.
        HafsError: An expert's run or registered model cannot be used.
    """
    if beside := [key for key in ("name", "a", "b") if config[key]]:
        raise ConfigError(f"council= cannot be combined with {beside[0]}=", hint="use only one of them")
    metrics = {str(name): build(node) for name, node in config.metrics.items() if node}
    if config.headline not in metrics:
        raise ConfigError(
            f"headline is {config.headline!r}, which is not a metric", hint=did_you_mean(config.headline, metrics)
        )
    chat, members = seated(config)
    return of_council(
        chat, members, metrics=metrics, headline=config.headline, rows=config.rows,
        max_new_tokens=config.max_new_tokens, draws=config.draws, seed=config.seed, say=say,
    )  # fmt: skip
