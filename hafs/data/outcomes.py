"""Tokenize conversations to samples or reject them, and count the outcomes of pass one."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from hafs.chat import Conversation, Rendered, render_many, shows_reasoning, unfold
from hafs.core.errors import HafsError
from hafs.data.dataset import Dataset
from hafs.data.decode import Reject
from hafs.data.huge_rows import HUGE, characters, fit_huge
from hafs.data.lengths import Fitted, fit

_MOST_KEYS = 1000
_LENGTH_STEP = 64
_MARKUP_HINTS = (b"<|", b"[INST]", b"<start_of_turn>", b"### Assistant:")
_MARKUP = re.compile(
    rb"<\|(?:im_start|im_end|start_header_id|eot_id|user|assistant|system|end|turn)\|>"
    rb"|\[INST\]|<start_of_turn>|### Assistant:"
)
Sample: TypeAlias = tuple[Conversation, Rendered]


@dataclass
class IngestCounts:
    """Counts of pass one."""

    rows: int = 0
    blank_lines: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    formats: Counter[str] = field(default_factory=Counter)
    omitted_reasoning: int = 0
    """Answers whose reasoning the chat template does not render."""
    unused: Counter[str] = field(default_factory=Counter)
    """Unused keys of accepted rows, and the number of rows or turns in which they have a value."""
    overlong: Counter[str] = field(default_factory=Counter)
    tokens_lost: int = 0
    long_rows: Counter[int] = field(default_factory=Counter)
    """Rows longer than max_length, by their tokens, rounded up to a multiple of 64."""
    markup: Counter[str] = field(default_factory=Counter)
    """Rows whose texts contain chat markup, by the kind of markup."""
    notes: list[str] = field(default_factory=list)
    file_problems: list[str] = field(default_factory=list)

    def count_markup(self, text: bytes) -> None:
        """Count the chat markup in a row's text; most rows have none, so the test is cheap."""
        if any(hint in text for hint in _MARKUP_HINTS) and (found := _MARKUP.search(text)):
            self.markup[found.group().decode()] += 1

    def count_unused(self, names: Iterable[str]) -> None:
        """Count unused keys; after the first thousand names, all further names are counted together."""
        for name in names:
            known = len(self.unused) < _MOST_KEYS or name in self.unused
            self.unused[name if known else "(more keys)"] += 1


class PairFitted(NamedTuple):
    """The one sample of a preference row's better answer, and the tokens of the worse one."""

    samples: list[Sample]
    lost: int
    rejected: Rendered


def pair_outcomes(
    dataset: Dataset, tokenizer: Any, pairs: list[tuple[Conversation, Conversation]], counts: IngestCounts
) -> list[PairFitted | Reject]:
    """Tokenize both answers of preference rows. An answer that is too long rejects its pair: neither half is cut."""
    whole = replace(dataset, overlong="reject")
    halves = outcomes(whole, tokenizer, [half for pair in pairs for half in pair], counts)
    return [_pair(*both) for both in zip(halves[::2], halves[1::2], strict=True)]


def _pair(chosen: Fitted | Reject, rejected: Fitted | Reject) -> PairFitted | Reject:
    for half in (chosen, rejected):
        if isinstance(half, Reject):
            return half
        if len(half.samples) != 1:
            return Reject("unsupported_field", "the chat template renders the turns of this pair as several samples")
    assert isinstance(chosen, Fitted)
    assert isinstance(rejected, Fitted)
    return PairFitted(chosen.samples, 0, rejected.samples[0][1])


def outcomes(
    dataset: Dataset, tokenizer: Any, conversations: list[Conversation], counts: IngestCounts
) -> list[Fitted | Reject]:
    """Tokenize conversations and apply the length policy; `counts` records samples that are too long."""
    small = [conversation for conversation in conversations if characters(conversation) <= HUGE]
    rendered = iter(_render(tokenizer, small))
    counts.omitted_reasoning += _count_omitted_reasoning(tokenizer, conversations)
    found: list[Fitted | Reject] = []
    for conversation in conversations:
        try:
            if characters(conversation) > HUGE:
                found.append(_huge(dataset, tokenizer, conversation, counts))
            else:
                done = next(rendered)
                found.append(done if isinstance(done, Reject) else _fit(dataset, tokenizer, done, counts))
        except HafsError as error:
            found.append(Reject("template", error.fact))
    return found


def _count_omitted_reasoning(tokenizer: Any, conversations: list[Conversation]) -> int:
    thoughts = sum(bool(message.reasoning) for conversation in conversations for message in conversation)
    return 0 if not thoughts or shows_reasoning(tokenizer) else thoughts


def _render(tokenizer: Any, conversations: list[Conversation]) -> list[list[Sample] | Reject]:
    """The samples of each conversation, tokenized in one call."""
    try:
        return list(_samples(tokenizer, conversations))
    except HafsError:  # one row at a time, to find those that the template rejects
        return [_render_one(tokenizer, conversation) for conversation in conversations]


def _samples(tokenizer: Any, conversations: list[Conversation]) -> list[list[Sample]]:
    unfolded = [unfold(tokenizer, conversation) for conversation in conversations]
    done = iter(render_many(tokenizer, [sample for samples in unfolded for sample in samples]))
    return [[(sample, next(done)) for sample in samples] for samples in unfolded]


def _render_one(tokenizer: Any, conversation: Conversation) -> list[Sample] | Reject:
    try:
        return _samples(tokenizer, [conversation])[0]
    except HafsError as error:
        return Reject("template", error.fact)


def _fit(dataset: Dataset, tokenizer: Any, samples: list[Sample], counts: IngestCounts) -> Fitted | Reject:
    if not all(any(done.supervised) for _, done in samples):
        return Reject("no_supervised_token", "the template leaves no supervised token")
    longest = max(len(done.tokens) for _, done in samples)
    if longest <= dataset.max_length:
        return Fitted(samples, 0)
    found = [
        Fitted([sample], 0) if len(sample[1].tokens) <= dataset.max_length and dataset.overlong != "reject"
        else fit(tokenizer, *sample, max_length=dataset.max_length, overlong=dataset.overlong)
        for sample in samples
    ]  # fmt: skip
    counts.long_rows[-(-longest // _LENGTH_STEP) * _LENGTH_STEP] += 1
    whole = Fitted([sample for each in found for sample in each.samples], sum(each.lost for each in found))
    return _counted(dataset, whole, f"{longest:,} tokens", counts)


def _huge(dataset: Dataset, tokenizer: Any, conversation: Conversation, counts: IngestCounts) -> Fitted | Reject:
    fitted = fit_huge(tokenizer, conversation, max_length=dataset.max_length, overlong=dataset.overlong)
    if fitted is None:
        return _fit(dataset, tokenizer, _samples(tokenizer, [conversation])[0], counts)
    return _counted(dataset, fitted, f"{characters(conversation):,} characters", counts)


def _counted(dataset: Dataset, fitted: Fitted, size: str, counts: IngestCounts) -> Fitted | Reject:
    counts.overlong["rows"] += 1
    counts.tokens_lost += fitted.lost
    if fitted.samples:
        counts.overlong["truncated" if dataset.overlong == "truncate" else "split"] += 1
        return fitted
    counts.overlong["rejected"] += 1
    why = "" if dataset.overlong == "reject" else f", and overlong={dataset.overlong} cannot keep its answers complete"
    return Reject("too_long", f"{size}, expected at most {dataset.max_length:,} tokens (max_length){why}")
