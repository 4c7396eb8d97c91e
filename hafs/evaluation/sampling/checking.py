"""Decides for each sampled answer whether it is right, by the first of several metrics that applies to its prompt."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hafs.chat import Call
from hafs.core.errors import ConfigError
from hafs.evaluation.metrics import Metric, Said
from hafs.evaluation.sampling.journal import SampledAnswer
from hafs.evaluation.sampling.prompts import SamplingPrompt


class Proof(NamedTuple):
    """The verdict of the check."""

    right: bool
    check: str
    """Name of the metric; empty: none applies to the prompt."""


NO_CHECK = Proof(False, "")


def usable(metrics: Mapping[str, Metric], order: Sequence[str]) -> dict[str, Metric]:
    """The metrics that check, in their order.

    Raises:
        ConfigError: One is unknown, or this machine can measure none of them.
    """
    if unknown := [name for name in order if name not in metrics]:
        raise ConfigError(f"check={unknown[0]} is not a metric", hint=f"one of: {', '.join(metrics)}")
    why = {name: metrics[name].missing() for name in order}
    found = {name: metrics[name] for name in order if not why[name]}
    if not found:
        raise ConfigError("; ".join(f"{name}: {said}" for name, said in why.items()), hint="choose another check=")
    return found


def proofs(
    answers: Sequence[SampledAnswer], prompts: Mapping[str, SamplingPrompt], metrics: Mapping[str, Metric]
) -> list[Proof]:
    """The verdict on each answer, in their order. An answer that was cut at its limit is never right.

    Args:
        answers: The answers.
        prompts: Their prompts by id.
        metrics: By name, in the order in which they are tried; each gives 1 for a right answer.
    """
    said = [as_said(answer, prompts[answer.prompt]) for answer in answers]
    for metric in metrics.values():
        metric.prepare(said)
    return [_proof(each, metrics) for each in said]


def _proof(said: Said, metrics: Mapping[str, Metric]) -> Proof:
    for name, metric in metrics.items():
        parts = metric.parts(said)
        if parts is not None:
            return Proof(said.ended and parts.amount >= parts.weight, name)
    return NO_CHECK


def as_said(answer: SampledAnswer, prompt: SamplingPrompt) -> Said:
    """An answer as a metric sees it."""
    reference = prompt.reference[0]
    return Said(
        prompt=prompt.conversation,
        reference=reference.content,
        answer=answer.text,
        ended=answer.ended,
        expected_calls=reference.calls,
        calls=tuple(map(Call.of_row, answer.calls)),
        syntax=str(prompt.metadata.get("syntax") or ""),
        group=prompt.group,
    )
