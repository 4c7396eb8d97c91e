"""The answers of each side of a council's trial, and the likelihood of the reference answers."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from hafs.core.errors import AllProvidersDown
from hafs.evaluation.metrics import Said
from hafs.evaluation.rows import EvaluationRow, micro_batch_tokens_of
from hafs.evaluation.subject import Subject
from hafs.modeling.adapter.lora_forward import Share, chosen
from hafs.modeling.likelihood import Likelihood, likelihoods
from hafs.providers.local import Local

CONCURRENCY = 16
"""Concurrent requests of one side; each has a deadline, so they must not queue for long."""
_ENDED = {"finish_reason": "stop"}
_MESSAGES = {"system": SystemMessage, "assistant": AIMessage, "tool": partial(ToolMessage, tool_call_id="0")}


@dataclass(frozen=True, kw_only=True)
class Question:
    """A test row and the expert that it is about."""

    id: str
    expert: str
    """Its own expert."""
    dataset: str
    group: str
    """Rows of one prompt, or one `split_group`, share it."""
    row: EvaluationRow
    syntax: str = ""
    """Assembler dialect of the row, where it says one."""

    @property
    def messages(self) -> list[BaseMessage]:
        """The prompt as LangChain messages."""
        return [_MESSAGES.get(message.role, HumanMessage)(message.content) for message in self.row.prompt]


def sides_of(chat: Any, members: Mapping[str, Subject], *, base: str) -> dict[str, Any]:
    """The experts, each alone, and the base: a council of the default expert's model without adapter."""
    plain = replace(chat.panel.experts[chat.panel.default], name=base, adapter=None, system=None)
    only = replace(chat.panel, experts={base: plain}, default=base)
    return {name: chat.alone(name) for name in members} | {base: chat.model_copy(update={"panel": only})}


def answered(
    label: str, side: Any, questions: Sequence[Question], nats: Sequence[Likelihood] | None, limit: int,
    tokens: Callable[[str], int], say: Callable[[str], None],
) -> tuple[list[Said], list[tuple[str, ...]]]:  # fmt: skip
    """The answers of a side, and which experts gave them; a failed answer is None, not empty.

    Args:
        label: Of the side.
        side: A council.
        questions: The rows.
        nats: How likely their own answers are to the side; None: it has no probabilities.
        limit: Longest answer, in tokens; 0: none is asked for.
        tokens: Counts those of a text.
        say: Takes a line.
    """
    began = time.perf_counter()
    told: Sequence[Any] = [None] * len(questions)
    if limit:
        told = side.batch(
            [question.messages for question in questions], {"max_concurrency": CONCURRENCY}, return_exceptions=True,
            max_tokens=limit, temperature=0.0,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    told = [AIMessage("", response_metadata=_ENDED) if _said_nothing(answer) else answer for answer in told]
    failed = [str(answer).splitlines()[0] for answer in told if isinstance(answer, BaseException)]
    why = f", {len(failed)} failed: {failed[0]}" if failed else ""
    say(f"measured   {label}: {len(questions)} rows, {seconds:.1f} s{why}")
    said = [
        replace(
            _said(question.row, answer, nats[i] if nats else None, seconds / len(questions), tokens),
            group=question.group,
            syntax=question.syntax,
        )
        for i, (question, answer) in enumerate(zip(questions, told, strict=True))
    ]
    return said, [_picked(answer) for answer in told]


def _said(
    row: EvaluationRow, answer: Any, found: Likelihood | None, seconds: float, tokens: Callable[[str], int]
) -> Said:
    said = Said(prompt=row.prompt, reference=row.reference, answer=None)
    if found is not None:
        said = replace(said, nats=found.nats, supervised=found.tokens, correct=found.correct, bytes=row.bytes)
    if not isinstance(answer, AIMessage):
        return said
    text = str(answer.text).strip()
    return replace(
        said, answer=text, seconds=seconds, tokens=tokens(text),
        ended=answer.response_metadata.get("finish_reason") == "stop",
    )  # fmt: skip


def _said_nothing(answer: Any) -> bool:
    """Whether the model ended with no text: for a council this is a failure, here it is an answer."""
    outcomes = {attempt.get("outcome") for attempt in getattr(answer, "attempts", ())}
    return isinstance(answer, AllProvidersDown) and outcomes == {"empty"}


def _picked(answer: Any) -> tuple[str, ...]:
    routing = getattr(answer, "response_metadata", {}).get("receipt", {}).get("routing") or {}
    return tuple(routing.get("picked", ()))


def likely(
    chat: Any, sides: Mapping[str, Any], questions: Sequence[Question], say: Callable[[str], None]
) -> dict[str, list[Likelihood]]:
    """The likelihood of every reference answer, for each side that is a local base with at most one adapter."""
    first, panel = chat.providers[0], chat.panel
    models = {first.models[expert.tier] for expert in panel.experts.values()}
    if not isinstance(first.host, Local) or len(models) != 1:
        say("likelihood not measured: it needs provider=local first, and one base for all experts")
        return {}
    began = time.perf_counter()
    engine = first.host.engine(models.pop())
    samples = [question.row.sample for question in questions]
    found = {}
    for label, side in sides.items():
        adapter = next(iter(side.panel.experts.values())).adapter
        work = partial(_under, folder=Path(adapter) if adapter else None, samples=samples)
        found[label] = engine.call(work).result()
    say(
        f"measured   likelihood of {len(samples)} answers under {', '.join(found)}, {time.perf_counter() - began:.1f} s"
    )
    return found


def _under(net: Any, name_of: Callable[[Path | None], str | None], *, folder: Path | None, samples: Any):
    with chosen([Share(name_of(folder), slice(None))]):
        return likelihoods(net, samples, micro_batch_tokens=micro_batch_tokens_of(net))
