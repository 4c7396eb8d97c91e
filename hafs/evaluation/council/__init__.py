"""Measures whether routing helps: the council, each expert alone and the base model, on all test splits.

    members    which experts, and the run or the registered model behind each
    sides      what each side answers; how likely the rows' own answers are to those that have probabilities
    record     figures, intervals, where the rows went, the answer in one line; show and page as for a run

One more side is computed and not asked: each row answered by its own expert, as perfect routing would choose.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hafs.chat import TEXT_ROLE
from hafs.core.errors import DataError
from hafs.evaluation.council.record import Sheets, Trial, trial
from hafs.evaluation.council.sides import Question, answered, likely, sides_of
from hafs.evaluation.groups import group_in, syntax_in
from hafs.evaluation.metrics import Metric, Said
from hafs.evaluation.rows import asked
from hafs.evaluation.subject import Subject, data_of, held_out, refuse_seen

Say = Callable[[str], None]
COUNCIL, BASE, PERFECT = "council", "base", "own expert"


def of_council(
    chat: Any, members: Mapping[str, Subject], *, metrics: Mapping[str, Metric], headline: str, rows: int | None,
    max_new_tokens: int, draws: int, seed: int, say: Say,
) -> Trial:  # fmt: skip
    """Ask every side every test row of every expert.

    Args:
        chat: The council.
        members: The run behind each expert that is scored.
        metrics: By name.
        headline: The metric of the one-line answer.
        rows: At most so many test rows of each expert; None: all.
        max_new_tokens: Longest answer.
        draws: Resamples for an interval.
        seed: Of the resamples.
        say: Takes lines about what goes on.

    Raises:
        DataError: A test row was seen by one of the experts, or there is nothing to ask.
    """
    began = time.perf_counter()
    questions = _questions(members, rows, say)
    sides = sides_of(chat, members, base=BASE)
    nats = likely(chat, sides, questions, say)
    tokenizer = next(iter(members.values())).model.tokenizer()
    sheets: Sheets = {}
    routed: list[tuple[str, ...]] = []
    for label, side in {COUNCIL: chat, **sides}.items():
        said, picked = answered(
            label, side, questions, nats.get(label), max_new_tokens, lambda text: len(tokenizer.encode(text)), say
        )
        sheets[label], routed = said, routed or picked
    sheets[PERFECT] = _perfect(questions, sheets)
    return trial(
        chat=chat, members=members, questions=questions, sheets=sheets, routed=routed, metrics=metrics,
        headline=headline, max_new_tokens=max_new_tokens, draws=draws, seed=seed,
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _questions(members: Mapping[str, Subject], rows: int | None, say: Say) -> list[Question]:
    """The first test rows of each expert with a question; no expert was trained on them."""
    data = {name: data_of(subject, subject.model.tokenizer()) for name, subject in members.items()}
    found: dict[str, Question] = {}
    for name, subject in members.items():
        split = held_out(subject, data[name])
        for other in members.keys() - {name}:
            refuse_seen(split, members[other], data[other])
        tokenizer, count = subject.model.tokenizer(), len(split) if rows is None else min(rows, len(split))
        mine = [
            Question(
                id=split.ids[i],
                expert=name,
                dataset=subject.dataset.name,
                group=group_in(split, i),
                row=row,
                syntax=syntax_in(split, i, subject.dataset),
            )
            for i in range(count)
            if (row := asked(split.conversation(i), tokenizer)).prompt[0].role != TEXT_ROLE
        ]
        found |= {question.id: question for question in mine if question.id not in found}
        say(f"data       {name}: {len(mine)} test rows of {subject.dataset.name}, seen by none of the experts")
    if not found:
        raise DataError("the test splits contain plain text only, without questions", hint="use rows with an answer")
    return list(found.values())


def _perfect(questions: Sequence[Question], sheets: Sheets) -> list[Said]:
    """Each row with the answer of its own expert, without times."""
    return [replace(sheets[question.expert][i], seconds=0.0) for i, question in enumerate(questions)]
