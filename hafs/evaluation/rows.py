"""Measures one model on rows: the likelihood of the reference answers, and the model's own answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hafs.chat import TEXT_ROLE, Call, Conversation, call_syntax, end_tokens, parse, render
from hafs.core.errors import HafsError
from hafs.data.samples import Sample
from hafs.evaluation.metrics import Said
from hafs.modeling import model_parts, out_of_memory
from hafs.modeling.generation import Decoder, Generation, Sampling, answer, for_inference, prompt_of
from hafs.modeling.likelihood import Likelihood, likelihoods

ROW_TOKENS = {"cpu": 1024}
"""Tokens per forward pass over reference answers; halved if memory runs out."""
GPU_TOKENS = 8192
TEMPERATURE, TOP_P = 0.8, 0.95
"""Of drawn answers."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One conversation, prepared for a model."""

    prompt: Conversation
    """All before the last answer."""
    reference: str
    """The last answer; empty for plain text, which has no question."""
    sample: Sample
    """The whole conversation, tokenized as in training."""
    bytes: int
    """UTF-8 bytes of the supervised text."""
    expected_calls: tuple[Call, ...] = ()
    """Tool calls of the last answer."""


def asked(conversation: Conversation, tokenizer: Any) -> EvaluationRow:
    """A conversation with its last answer, for the model of this tokenizer."""
    rendered = render(tokenizer, conversation)
    tokens, supervised = np.array(rendered.tokens, np.int32), np.array(rendered.supervised, bool)
    counted = np.flatnonzero(supervised[1:]) + 1  # the first token is never predicted
    text = tokenizer.decode(tokens[counted].tolist(), skip_special_tokens=True)
    prompt = prompt_of(conversation)
    last = conversation[len(prompt)] if len(prompt) < len(conversation) else None
    reference = last.content if last else ""
    if last and last.calls:  # as the model generates them
        start = int(np.flatnonzero(~supervised[: counted[-1]])[-1]) + 1
        reference = tokenizer.decode(tokens[start : counted[-1] + 1].tolist(), skip_special_tokens=True).strip()
    return EvaluationRow(
        prompt=prompt,
        reference=reference,
        sample=Sample("", tokens, supervised),
        bytes=len(text.encode()),
        expected_calls=last.calls if last else (),
    )


def put_to(
    net: Any,
    tokenizer: Any,
    conversations: Sequence[Conversation],
    *,
    max_new_tokens: int,
    concurrency: int,
    progress: Progress = lambda *_: None,
) -> list[Said]:
    """Measure a model on every conversation.

    Args:
        net: The model, its adapter on or off.
        tokenizer: Of the model.
        conversations: The conversations, with their answers.
        max_new_tokens: Longest answer; 0: only measure the likelihood of the reference answers.
        concurrency: Answers generated concurrently; halved if memory runs out.
        progress: Called with the number of finished answers and their total.
    """
    rows = [asked(conversation, tokenizer) for conversation in conversations]
    with for_inference(net):
        likely = likelihoods(net, [row.sample for row in rows], micro_batch_tokens=micro_batch_tokens_of(net))
        due = [i for i, row in enumerate(rows) if row.prompt[0].role != TEXT_ROLE and max_new_tokens]
        prompts = [rows[i].prompt for i in due]
        given = dict(zip(due, answers(net, tokenizer, prompts, max_new_tokens, concurrency, progress), strict=True))
    return [_said(row, found, given.get(i, NOTHING)) for i, (row, found) in enumerate(zip(rows, likely, strict=True))]


def micro_batch_tokens_of(net: Any) -> int:
    """Tokens per forward pass over reference answers, on the device that a model computes on."""
    return ROW_TOKENS.get(model_parts.device_of(net).type, GPU_TOKENS)


class Given(NamedTuple):
    """An answer, and its share of the time."""

    answer: str | None
    tokens: int
    ended: bool
    seconds: float
    calls: tuple[Call, ...] = ()


NOTHING = Given(None, 0, False, 0.0)


def _said(row: EvaluationRow, found: Likelihood, own: Given) -> Said:
    return Said(
        prompt=row.prompt, reference=row.reference, answer=own.answer, tokens=own.tokens, ended=own.ended,
        seconds=own.seconds, nats=found.nats, supervised=found.tokens, correct=found.correct, bytes=row.bytes,
        expected_calls=row.expected_calls, calls=own.calls,
    )  # fmt: skip


def answers(
    net: Any, tokenizer: Any, prompts: Sequence[Conversation], max_new_tokens: int, concurrency: int, progress: Progress
) -> list[Given]:
    """Greedy answers of a net in inference mode, in the order of the prompts, as many concurrently as fit.

    Raises:
        HafsError: A single answer does not fit in memory.
    """
    while True:
        try:
            return _answers(net, tokenizer, prompts, max_new_tokens, concurrency, progress)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory.is_out_of_memory(error):
                raise
            if concurrency == 1:
                hint = "lower max_new_tokens"
                raise HafsError("out of memory while generating a single answer", hint=hint) from None
        concurrency //= 2
        out_of_memory.free_cache()


def drawn_answers(
    net: Any, tokenizer: Any, rows: Sequence[Said], *, count: int, max_new_tokens: int, concurrency: int, seed: int
) -> list[tuple[str, ...]]:
    """Answers drawn at random to every row that was asked; none to the others.

    Args:
        net: The model, its adapter on or off.
        tokenizer: Of the model.
        rows: The rows.
        count: Answers to each.
        max_new_tokens: Longest answer.
        concurrency: Answers generated concurrently; halved if memory runs out.
        seed: Of the draws; answer `k` to row `i` does not depend on the others.
    """
    due = [i for i, said in enumerate(rows) if said.answer is not None for _ in range(count)]
    told = answer(
        net, tokenizer, [rows[i].prompt for i in due], max_new_tokens=max_new_tokens, batch=concurrency,
        sampling=lambda place: Sampling(temperature=TEMPERATURE, top_p=TOP_P, seed=seed * 1_000_003 + place),
    )  # fmt: skip
    found: dict[int, list[str]] = {}
    for i, each in zip(due, told, strict=True):
        found.setdefault(i, []).append(each.text)
    return [tuple(found.get(i, ())) for i in range(len(rows))]


def _answers(
    net: Any, tokenizer: Any, prompts: Sequence[Conversation], limit: int, concurrency: int, progress: Progress
) -> list[Given]:
    adapter = getattr(net, "active_adapter", None)
    rows = [Generation(render(tokenizer, p, for_generation=True).tokens, adapter=adapter, limit=limit) for p in prompts]
    seconds = dict.fromkeys(range(len(rows)), 0.0)
    place = {id(row): i for i, row in enumerate(rows)}
    decoder = Decoder(net, ends=end_tokens(tokenizer), rows=concurrency)
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        decoder.add(row)
    while decoder:
        began = time.perf_counter()
        told = decoder.step()
        share = (time.perf_counter() - began) / max(1, len(told))
        for token in told:
            seconds[place[id(token.row)]] += share
        progress(sum(row.finish is not None for row in rows), len(rows))
    read = [_read(tokenizer, prompt, row.said) for prompt, row in zip(prompts, rows, strict=True)]
    return [
        Given(text, len(row.said), row.finish == "stop", seconds[i], calls)
        for i, (row, (text, calls)) in enumerate(zip(rows, read, strict=True))
    ]


def _read(tokenizer: Any, prompt: Conversation, tokens: Sequence[int]) -> tuple[str, tuple[Call, ...]]:
    """The text of a generated answer, and its tool calls if the prompt has tools."""
    text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    syntax = call_syntax(tokenizer) if prompt[0].tools else None
    if syntax is None:
        return text, ()
    found = parse(tokenizer.decode(tokens, skip_special_tokens=False), syntax, prompt[0].tools)
    spoken = parse(text, syntax, prompt[0].tools)
    return (text if found.calls else spoken.text.strip()), tuple(found.calls)
