"""Chooses what is kept: the shortest right answer of each prompt, and pairs of a right and a wrong one."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hafs.chat import Call, Conversation, Message
from hafs.data.content import keys_of, normalize, signatures
from hafs.evaluation.sampling.checking import Proof
from hafs.evaluation.sampling.journal import SampledAnswer
from hafs.evaluation.sampling.prompts import SamplingPrompt

_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)


@dataclass(kw_only=True)
class KeptRows:
    """The results of a sampling."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Conversations in OpenAI's format, each with its `origin`."""
    pairs: list[dict[str, Any]] = field(default_factory=list)
    """Preference rows in TRL's format: the kept answer, and a wrong one to the same prompt."""
    counts: Counter[str] = field(default_factory=Counter)
    """Answers: right, wrong, unchecked, echo, near_duplicate, longer."""


def keep(
    answers: Sequence[SampledAnswer],
    proven: Sequence[Proof],
    prompts: Mapping[str, SamplingPrompt],
    *,
    threshold: float,
    apart: Sequence[Conversation] = (),
) -> KeptRows:
    """Choose rows and pairs.

    Args:
        answers: All answers.
        proven: The verdicts on them.
        prompts: By id.
        threshold: Minimum Jaccard similarity (16-byte shingles) of near duplicates; the first one stays.
        apart: Held-out conversations. A row that resembles one would join their group, and move it to training.
    """
    found = KeptRows()
    by_prompt: dict[str, list[tuple[SampledAnswer, Proof]]] = {}
    for answer, proof in zip(answers, proven, strict=True):
        by_prompt.setdefault(answer.prompt, []).append((answer, proof))
    best = [(prompts[name], *_best(prompts[name], mine, found.counts)) for name, mine in sorted(by_prompt.items())]
    chosen = [(prompt, right, wrong) for prompt, right, wrong in best if right]
    texts = [_text(prompt.conversation, right[0]) for prompt, right, _ in chosen]
    alike = near_duplicates(texts, [keys_of(conversation)[1] for conversation in apart], threshold)
    for place, (prompt, right, wrong) in enumerate(chosen):
        if place in alike:
            found.counts["near_duplicate"] += 1
            continue
        found.rows.append(_row(prompt, *right))
        if wrong:
            found.pairs.append(_pair(prompt, right, wrong))
    return found


def _best(
    prompt: SamplingPrompt, mine: Iterable[tuple[SampledAnswer, Proof]], counts: Counter[str]
) -> tuple[tuple[SampledAnswer, Proof] | None, SampledAnswer | None]:
    """The shortest right answer, and the wrong answer that is nearest to it in length."""
    right, wrong = [], []
    for answer, proof in mine:
        if not proof.check:
            counts["unchecked"] += 1
        elif not proof.right:
            counts["wrong"] += 1
            wrong.append(answer)
        elif is_echo(answer, prompt):
            counts["echo"] += 1
        else:
            counts["right"] += 1
            right.append((answer, proof))
    if not right:
        return None, None
    best = min(right, key=lambda each: (_size(each[0]), each[0].draw))
    counts["longer"] += len(right) - 1
    said = [answer for answer in wrong if answer.ended and (answer.text.strip() or answer.calls)]
    nearest = min(said, key=lambda each: (abs(_size(each) - _size(best[0])), each.draw), default=None)
    return best, nearest


def is_echo(answer: SampledAnswer, prompt: SamplingPrompt) -> bool:
    """Whether an answer without calls, or the code in it, only repeats a part of the prompt."""
    asked = normalize("\n".join(message.content for message in prompt.conversation))
    parts = _FENCED.findall(answer.text) or [answer.text]
    return not answer.calls and all(normalize(part) in asked for part in parts)


def _size(answer: SampledAnswer) -> int:
    return len(answer.text) + sum(len(str(call)) for call in answer.calls)


def _text(prompt: Conversation, answer: SampledAnswer) -> bytes:
    said = Message(role="assistant", content=answer.text, calls=tuple(map(Call.of_row, answer.calls)))
    return keys_of((*prompt, said))[1]


def near_duplicates(texts: Sequence[bytes], apart: Sequence[bytes], threshold: float) -> set[int]:
    """Places of texts that nearly repeat an earlier one that stays, or one of `apart`."""
    if not texts:
        return set()
    prints_NP = signatures([*apart, *texts])
    staying = list(range(len(apart)))
    alike: set[int] = set()
    for place in range(len(apart), len(prints_NP)):
        if staying and ((prints_NP[staying] == prints_NP[place]).mean(1) >= threshold).any():
            alike.add(place - len(apart))
        else:
            staying.append(place)
    return alike


def _row(prompt: SamplingPrompt, answer: SampledAnswer, proof: Proof) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.calls:
        said["tool_calls"] = answer.calls
    turns, tools = _asked(prompt)
    return {"messages": [*turns, said], **tools, **_about(prompt, answer, proof)}


def _pair(prompt: SamplingPrompt, right: tuple[SampledAnswer, Proof], wrong: SampledAnswer) -> dict[str, Any]:
    turns, tools = _asked(prompt)
    sides = {
        name: [{"role": "assistant", "content": answer.text} | ({"tool_calls": answer.calls} if answer.calls else {})]
        for name, answer in (("chosen", right[0]), ("rejected", wrong))
    }
    return {"prompt": turns, **sides, **tools, **_about(prompt, *right)}


def _asked(prompt: SamplingPrompt) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The turns of a prompt, whose answers are context; and its tools."""
    turns = [message.as_row() for message in prompt.conversation]
    tools = turns[0].pop("tools", None)
    for turn in turns:
        if turn["role"] == "assistant":
            turn["weight"] = 0
    return turns, {"tools": tools} if tools else {}


def _about(prompt: SamplingPrompt, answer: SampledAnswer, proof: Proof) -> dict[str, Any]:
    """Where a row comes from; it stays in the split of the row whose prompt it answers."""
    origin = {
        "model": answer.model,
        "provider": answer.provider,
        "time": datetime.fromtimestamp(answer.time, UTC).isoformat(timespec="seconds"),
        "cost": answer.cost,
        "check": proof.check,
        "prompt": prompt.id,
        "draw": answer.draw,
    }
    kept = {key: prompt.metadata[key] for key in ("split_group", "syntax") if prompt.metadata.get(key)}
    return {"origin": origin, **kept}
