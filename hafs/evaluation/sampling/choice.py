"""Builds a sampling from the command's config; refuses contradictory options before anything is loaded."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hafs.config import build, compose
from hafs.core.errors import ConfigError
from hafs.data.prepare import Prepared, prepare
from hafs.evaluation.judge import Judge, asking
from hafs.evaluation.metrics import Metric
from hafs.evaluation.sampling.checking import usable
from hafs.evaluation.sampling.judging import JudgeCheck
from hafs.evaluation.sampling.prompts import training_prompts
from hafs.evaluation.sampling.sampler import Sampler, SamplingPlan
from hafs.evaluation.subject import Subject, data_of, open_run
from hafs.modeling.weights import cache_folder
from hafs.providers.failover import failover
from hafs.providers.provider import Provider
from hafs.runs.finished import find

FOLDER = Path("outputs/samples")
JUDGE = "judge"
_DECIDING = ("tier", "temperature", "top_p", "max_new_tokens", "seed")
"""Settings that decide the answers."""
Say = Callable[[str], None]


def chosen(config: DictConfig, say: Say) -> Sampler:
    """The sampling that the config describes.

    Raises:
        ConfigError: No run and no provider is given, or a check is unknown.
        RunError: There is no such run, or it is not finished.
        DataError: The data of the run has changed.
    """
    providers: list[Provider] = [build(node) for node in (config.get("providers") or {}).values()]
    judge: Judge | None = build(config.judge)
    _refuse_contradictions(config, providers, judge)
    subject = None if config.name is None else open_run(find(config.name, what="sample"))
    name = subject.name if subject else str(config.dataset.name)
    folder = Path(config.folder) if config.folder else FOLDER / name
    metrics = _checks(config, providers, judge, folder)
    data = _data(config, subject)
    if subject is not None:
        providers = [_local(subject, config.concurrency)]
    prompts = training_prompts(data, kept_out=_suite(config.rom_tasks), most=config.prompts)
    who = subject.name if subject else ", ".join(f"{p.name} ({p.models[config.tier]})" for p in providers)
    say(f"prompts    {len(prompts):,} of the training split of {name}; {who} answers, {config.k} at most for each")
    say(f"checked by {', '.join(metrics)}")
    model = failover(
        providers, config.tier, policy=build(config.policy), adapter=str(subject.weights) if subject else None,
        temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_new_tokens,
    )  # fmt: skip
    held_out = [data.splits[split] for split in ("val", "test")]
    return Sampler(
        folder,
        prompts,
        model=model,
        metrics=metrics,
        apart=[split.conversation(i) for split in held_out for i in range(len(split))],
        plan=_plan(config, subject, data),
    )


def _refuse_contradictions(config: DictConfig, providers: Sequence[Provider], judge: Judge | None) -> None:
    if config.name is None and not providers:
        raise ConfigError(
            "neither a run nor a provider is given", hint="name=RUN, or provider=openrouter dataset=alttp_asm"
        )
    if config.name is not None and providers and judge is None:
        raise ConfigError(
            "name= cannot be combined with provider=",
            hint="name=RUN samples the answers of the run itself; with judge=pairwise the providers judge them",
        )
    if JUDGE in config.check and judge is None:
        raise ConfigError("check=judge needs a judge", hint="judge=pairwise provider=openrouter")


def _checks(config: DictConfig, providers: Sequence[Provider], judge: Judge | None, folder: Path) -> dict[str, Metric]:
    """The checks in their order; a judge that is not named comes last."""
    known, order = _metrics(config), [str(name) for name in config.check]
    if judge is not None:
        known[JUDGE] = JudgeCheck(judge, asking(judge, providers, build(config.policy)), folder / "judgements.jsonl")
        order += [] if JUDGE in order else [JUDGE]
    return usable(known, order)


def _suite(path: str | None) -> list[str]:
    """The prompts of the task suite.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines() if path else []
        return [json.loads(line)["prompt"] for line in lines if line.strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fact = f"rom_tasks={path} cannot be read ({type(error).__name__}), so its prompts cannot be left out"
        raise ConfigError(fact, hint="rom_tasks=null leaves none out") from error


def _metrics(config: DictConfig) -> dict[str, Metric]:
    return {str(name): build(node) for name, node in config.metrics.items() if node}


def _data(config: DictConfig, subject: Subject | None) -> Prepared:
    """The splits: those of the run, or those that a training with the same seed would make."""
    if subject is not None:
        return data_of(subject, subject.model.tokenizer())
    tokenizer = build(config.model).tokenizer()
    return prepare(build(config.dataset), tokenizer, seed=config.seed, cache=cache_folder() / "datasets")


def _local(subject: Subject, concurrency: int) -> Provider:
    """The run's base on this machine, stored as in its training."""
    local: Provider = build(compose("ask", ["provider=local"]).providers.local)
    host: Any = local.host
    return replace(
        local,
        host=replace(host, quant=subject.quant.name, rows=concurrency),
        models=dict.fromkeys(local.models, subject.model.name),
    )


def _plan(config: DictConfig, subject: Subject | None, data: Prepared) -> SamplingPlan:
    asked: Mapping[str, Any] = {"answers": subject.name if subject else "providers", "data": data.fingerprint}
    return SamplingPlan(
        k=config.k,
        rows=config.rows,
        until_right=subject is None if config.until_right is None else config.until_right,
        concurrency=config.concurrency,
        dollars=config.budget,
        tokens=config.budget_tokens,
        threshold=config.near_duplicate_threshold,
        settings={**asked, **{key: config[key] for key in _DECIDING}},
    )
