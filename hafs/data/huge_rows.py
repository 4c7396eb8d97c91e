"""Rows too large for one tokenizer call, which needs about 270 bytes per token; they are tokenized in slices."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hafs.chat import TEXT_ROLE, Conversation, Message, encode_plain, learned_part, render, unfold
from hafs.data.dataset import Overlong
from hafs.data.lengths import Fitted, exchanges, fit

HUGE = 200_000  # characters
_SLICE = 50_000  # characters
_CHARACTERS_A_TOKEN = 16  # an upper bound; text further left can never be kept


def characters(conversation: Conversation) -> int:
    """Characters of all messages together."""
    return sum(len(message.content) for message in conversation)


def count_tokens(tokenizer: Any, conversation: Conversation) -> int:
    """Tokens of the messages without the template; up to one token off per slice border."""
    parts = (part for message in conversation for part in _slices(message.content))
    return sum(len(encode_plain(tokenizer, [part])[0].ids) for part in parts)


def fit_huge(tokenizer: Any, conversation: Conversation, *, max_length: int, overlong: Overlong) -> Fitted | None:
    """`lengths.fit` for a conversation of more than HUGE characters; None if its tokens fit."""
    total = count_tokens(tokenizer, conversation)
    if total <= max_length:
        return None
    samples = []
    parts = [sample for part in _parts(conversation, max_length, overlong) for sample in unfold(tokenizer, part)]
    for part in parts:
        done = render(tokenizer, part)
        whole = len(done.tokens) <= max_length
        samples += (
            [(part, done)] if whole else fit(tokenizer, part, done, max_length=max_length, overlong=overlong).samples
        )
    kept = sum(count_tokens(tokenizer, part) for part, _ in samples)
    return Fitted(samples, max(0, total - kept))


def _parts(conversation: Conversation, max_length: int, overlong: Overlong) -> Iterator[Conversation]:
    """The parts of the conversation that can be kept, each small enough for one tokenizer call."""
    if overlong == "truncate":
        room = max_length * _CHARACTERS_A_TOKEN
        parts = [tuple(_ending(message, room) for message in conversation)]
    elif overlong == "split" and conversation[0].role == TEXT_ROLE:
        pieces = (part for part in _slices(conversation[0].content) if part.strip())
        parts = [(Message(role=TEXT_ROLE, content=part),) for part in pieces]
    elif overlong == "split":
        system = conversation[:1] if conversation[0].role == "system" else ()
        parts = [(*system, *exchange) for exchange in exchanges(conversation[len(system) :])]
    else:
        parts = []
    parts = (part for part in map(learned_part, parts) if part)
    yield from (part for part in parts if characters(part) <= max(HUGE, max_length * _CHARACTERS_A_TOKEN))


def _ending(message: Message, room: int) -> Message:
    """The last `room` characters of a message; system messages and answers stay complete."""
    whole = message.role in ("system", "assistant") or len(message.content) <= room
    return message if whole else replace(message, content=message.content[-room:])


def _slices(text: str) -> Iterator[str]:
    """Consecutive slices, cut before a space or newline if possible."""
    start = 0
    while start < len(text):
        stop = start + _SLICE
        if stop < len(text):
            half = start + _SLICE // 2
            border = max(text.rfind(" ", half, stop), text.rfind("\n", half, stop))
            stop = border if border > start else stop
        yield text[start:stop]
        start = stop
