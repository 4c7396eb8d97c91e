"""Compares a finished run with its base model, or two runs: is it better, and did it forget anything?

    subject    a finished run, its unseen test split, its model with the adapter on or off
    rows       the likelihood of the reference answers, and generated answers, in batches
    general    forgetting; harness: tasks of lm-eval
    figures    one number per metric and side; intervals: paired bootstrap over the rows
    outcome    the record for the registry, the rows behind it; show and page: the terminal, and one HTML file

The verdict is the gate's (`hafs/evaluation/gate.py`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hafs.chat import Conversation, template_fingerprint
from hafs.core.errors import DataError
from hafs.core.waiting import waiting
from hafs.data.dataset import Dataset
from hafs.data.samples import Split
from hafs.evaluation.figures import figure, figures
from hafs.evaluation.gate import Gate
from hafs.evaluation.general import NAME as FORGETTING
from hafs.evaluation.general import Forgetting, general_set
from hafs.evaluation.groups import group_in, numbered, syntax_in
from hafs.evaluation.harness import Harness, Scores, scores, task_figures
from hafs.evaluation.intervals import Sides, compare
from hafs.evaluation.judge import Ask, Judge, Pair
from hafs.evaluation.metrics import Metric
from hafs.evaluation.outcome import Outcome, Sheet, outcome
from hafs.evaluation.rom.asking import of_net
from hafs.evaluation.rom.suite import FIGURE, RomSuite, TaskAnswer, put_tasks, summary
from hafs.evaluation.row_checks import RowCheck, row_checks
from hafs.evaluation.rows import drawn_answers, put_to
from hafs.evaluation.subject import Subject, SwitchableModel, data_of, held_out, refuse_seen
from hafs.runs.evaluation_record import Figure, Verdict

Say = Callable[[str], None]
JUDGE = "judge"
OF_ONE_TOKENIZER = ("perplexity", "token_accuracy", "answer_length", "seconds_per_token", FORGETTING)
"""Metrics that count tokens: they cannot be compared across tokenizers."""


class Opinion(NamedTuple):
    """A judge and the model that it asks."""

    judge: Judge
    ask: Ask


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How the model is measured."""

    metrics: Mapping[str, Metric]
    max_new_tokens: int
    """Longest answer in tokens; 0: no answers are generated."""
    concurrency: int
    """Answers generated concurrently."""
    rows: int | None
    """Maximum number of test rows; None: all."""
    general: str | None
    """The general set's file; None: forgetting is not measured."""
    draws: int
    """Resamples for an interval."""
    seed: int
    """Of the resamples."""
    samples: int = 0
    """Further answers to each test row, drawn at random."""
    judge: Opinion | None = None
    """Says which answer is better; None: no judge."""
    harness: Harness | None = None
    """Tasks of lm-eval; None: none."""
    rom: RomSuite | None = None
    """The ROM suite; None: it is not run."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The rows that both sides are measured on."""

    test: Sequence[Conversation]
    groups: Sequence[str]
    """Groups of the test rows: rows with one prompt or one `split_group` share a group."""
    syntaxes: Sequence[str]
    """Assembler dialects of the test rows, where they say one."""
    general: Sequence[Conversation]


def against_base(subject: Subject, how: Measuring, gate: Gate, say: Say) -> Outcome:
    """Compare a run with its base model: one base in memory, with the adapter off and on.

    Raises:
        DataError: The test split was seen in training, or has changed.
        RunError: The adapter cannot be loaded.
    """
    began = time.perf_counter()
    say(f"{subject.folder} compared with {subject.base}")
    tokenizer = subject.model.tokenizer()
    data = data_of(subject, tokenizer)
    split = held_out(subject, data)
    questions = _questions(split, how, say, dataset=subject.dataset)
    loaded = _load(subject, say)
    with loaded.base() as net:
        base = _sheet("base", net, tokenizer, questions, how, say)
    with loaded.tuned() as net:
        tuned = _sheet("tuned", net, tokenizer, questions, how, say)
    found, skipped = _compared(base, tuned, how, say)
    return outcome(
        subject=subject, data=data, split=split, sheets=(base, tuned), figures=found, skipped=skipped,
        verdict=gate.judge(found, skipped), max_new_tokens=how.max_new_tokens, seconds=time.perf_counter() - began,
        checks=_checks(base, tuned, how, skipped),
    )  # fmt: skip


def against_run(a: Subject, b: Subject, how: Measuring, say: Say) -> Outcome:
    """Compare run `b` with run `a` on the test split of `a`, which neither may have seen.

    Raises:
        DataError: One of them saw rows of the split.
        RunError: An adapter cannot be loaded.
    """
    began = time.perf_counter()
    say(f"{b.folder} compared with {a.folder}")
    tokenizer_a, tokenizer_b = a.model.tokenizer(), b.model.tokenizer()
    data = data_of(a, tokenizer_a)
    split = held_out(a, data)
    refuse_seen(split, b, data_of(b, tokenizer_b))
    questions = _questions(split, how, say, dataset=a.dataset)
    loaded = _load(a, say)
    with loaded.tuned() as net:
        left = _sheet(a.name, net, tokenizer_a, questions, how, say)
    if loaded.serves(b):
        loaded.take(b)
    else:
        del loaded, net  # free the first before the second is loaded
        loaded = _load(b, say)
    with loaded.tuned() as net:
        right = _sheet(b.name, net, tokenizer_b, questions, how, say)
    found, skipped = _compared(left, right, how, say)
    if template_fingerprint(tokenizer_a) != template_fingerprint(tokenizer_b):
        why = "the two runs have different tokenizers; bits_per_byte compares them"
        skipped |= {name: why for name in OF_ONE_TOKENIZER if found.pop(name, None)}
    return outcome(
        subject=b, data=data, split=split, sheets=(left, right), figures=found, skipped=skipped,
        verdict=Verdict(passed=True, rules=()), max_new_tokens=how.max_new_tokens,
        seconds=time.perf_counter() - began, against=a, checks=_checks(left, right, how, skipped),
    )  # fmt: skip


def _questions(split: Split, how: Measuring, say: Say, *, dataset: Dataset) -> Questions:
    count = len(split) if how.rows is None else min(how.rows, len(split))
    test = [
        split.conversation(i) for i in range(count)
    ]  # rows are ordered by content hash, so the first ones are a random sample
    part = f"{count} of {len(split)}" if count < len(split) else f"{count}"
    say(f"data       {dataset.name}: {part} test rows, none of them seen in training or early stopping")
    general = general_set(how.general)
    if general:
        say(f"forgetting {len(general)} general questions")
    return Questions(
        test=test, groups=[group_in(split, i) for i in range(count)],
        syntaxes=[syntax_in(split, i, dataset) for i in range(count)], general=general,
    )  # fmt: skip


def _load(subject: Subject, say: Say) -> SwitchableModel:
    began = time.perf_counter()
    with waiting(f"loading {subject.base}"):
        loaded = SwitchableModel(subject)
    seconds = time.perf_counter() - began
    say(f"model      {subject.base} with {subject.adapter.name}, on {loaded.device} in {seconds:.1f} s")
    return loaded


def _sheet(label: str, net, tokenizer, questions: Questions, how: Measuring, say: Say) -> Sheet:
    with waiting(f"measuring {label}"):
        return _measured(label, net, tokenizer, questions, how, say)


def _measured(label: str, net, tokenizer, questions: Questions, how: Measuring, say: Say) -> Sheet:
    began = time.perf_counter()
    general = put_to(net, tokenizer, questions.general, max_new_tokens=0, concurrency=how.concurrency)
    test = put_to(net, tokenizer, questions.test, max_new_tokens=how.max_new_tokens, concurrency=how.concurrency)
    tasks = scores(net, tokenizer, how.harness, concurrency=how.concurrency) if how.harness else {}
    rom = _rom(label, net, tokenizer, how, say) if how.rom else []
    if rom:
        tasks[FIGURE] = Scores({i: float(each.verdict.right) for i, each in enumerate(rom)}, True)
    if how.samples:
        drawn = drawn_answers(
            net, tokenizer, test, count=how.samples, max_new_tokens=how.max_new_tokens, concurrency=how.concurrency,
            seed=how.seed,
        )  # fmt: skip
        test = [replace(said, samples=texts) for said, texts in zip(test, drawn, strict=True)]
    facts = zip(test, questions.groups, questions.syntaxes, strict=True)
    test = [replace(said, group=group, syntax=syntax) for said, group, syntax in facts]
    tokens = sum(said.tokens for said in test)
    say(f"measured   {label}: {len(test)} rows, {tokens:,} tokens answered, {time.perf_counter() - began:.1f} s")
    return Sheet(label=label, test=test, general=general, tasks=tasks, rom=rom)


def _rom(label: str, net, tokenizer, how: Measuring, say: Say) -> list[TaskAnswer]:
    """What a model's answers to the tasks of the suite do."""
    assert how.rom is not None
    told = put_tasks(how.rom, of_net(net, tokenizer, concurrency=how.concurrency, max_new_tokens=how.max_new_tokens))
    say(f"rom tasks  {summary(label, told)}")
    return told


def _compared(base: Sheet, tuned: Sheet, how: Measuring, say: Say) -> tuple[dict[str, Figure], dict[str, str]]:
    found, skipped = figures(how.metrics, base.test, tuned.test, draws=how.draws, seed=how.seed)
    for name, metric in how.metrics.items():
        if name in found and (note := metric.note(base.test)):
            say(f"note       {name}: {note}")
    forgotten, _ = figures({FORGETTING: Forgetting()}, base.general, tuned.general, draws=how.draws, seed=how.seed)
    if not found:
        raise DataError("no metric applies to any row of the test split", hint="metrics=default")
    judged, missing = _judged(base, tuned, how, say) if how.judge else ({}, {})
    tasks = task_figures(base.tasks, tuned.tasks, draws=how.draws, seed=how.seed)
    return found | forgotten | judged | tasks, skipped | missing


def _checks(left: Sheet, right: Sheet, how: Measuring, skipped: Mapping[str, str]) -> list[RowCheck | None]:
    """Whether each answer is right, by metrics that this machine can measure."""
    measured = {name: metric for name, metric in how.metrics.items() if name not in skipped}
    return row_checks(measured, left.test, right.test)


def _judged(base: Sheet, tuned: Sheet, how: Measuring, say: Say) -> tuple[dict[str, Figure], dict[str, str]]:
    """The share of rows in which each side has the better answer; a tie counts half for both."""
    assert how.judge is not None
    both = [(a, b) for a, b in zip(base.test, tuned.test, strict=True) if a.answer is not None and b.answer is not None]
    pairs = [
        Pair(request=a.prompt[-1].content, reference=a.reference, first=a.answer or "", second=b.answer or "")
        for a, b in both[: how.judge.judge.rows]
    ]
    told = how.judge.judge.preferences(pairs, how.judge.ask)
    known = np.array([value for value in told if value is not None])
    groups_N = numbered([a for (a, _), value in zip(both, told, strict=False) if value is not None])
    say(f"judged     {len(known)} of {len(told)} rows; {len(told) - len(known)} judgements failed and are missing")
    if not len(known):
        return {}, {JUDGE: "no judgement succeeded"}
    ones = np.ones(len(known))
    sides = Sides((1 - known) / 2, ones, (1 + known) / 2, ones)
    compared = compare(sides, lambda amount, weight: amount / weight, draws=how.draws, seed=how.seed, groups_N=groups_N)
    groups = int(groups_N.max()) + 1
    return {JUDGE: figure(compared, rows=len(known), groups=groups, better="higher", unit="share")}, {}
