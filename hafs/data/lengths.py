"""Handle samples longer than max_length: reject, truncate or split them; each case is counted and reported."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hafs.chat import TEXT_ROLE, Conversation, Message, Rendered, encode_plain, learned_part, render, render_many
from hafs.data.dataset import Overlong

_LEAST_KEPT = 8  # truncation keeps at least so many tokens of a user turn
_ATTEMPTS = 4  # re-tokenized text may be a token longer than planned


class Fitted(NamedTuple):
    """The samples of one row, each of at most max_length tokens, and the number of lost tokens."""

    samples: list[tuple[Conversation, Rendered]]
    lost: int  # tokens


def fit(
    tokenizer: Any, conversation: Conversation, rendered: Rendered, *, max_length: int, overlong: Overlong
) -> Fitted:
    """Apply the policy to one conversation of more than max_length tokens; no samples means that it is rejected."""
    if overlong == "truncate":
        return _truncate(tokenizer, conversation, rendered, max_length)
    if overlong == "split":
        text = conversation[0].role == TEXT_ROLE
        pieces = (_text_pieces if text else _turn_pieces)(tokenizer, conversation, max_length)
        pieces = [part for piece, done in pieces if (part := _learned(tokenizer, piece, done))]
        fitted = [(piece, done) for piece, done in pieces if len(done.tokens) <= max_length]
        lost = sum(len(done.tokens) for _, done in pieces if len(done.tokens) > max_length)
        return Fitted(fitted, lost)
    return Fitted([], len(rendered.tokens))


def _learned(tokenizer: Any, piece: Conversation, done: Rendered) -> tuple[Conversation, Rendered] | None:
    """A piece up to its last learned answer; None if it has none."""
    part = learned_part(piece)
    if not part:
        return None
    return (part, done if len(part) == len(piece) else render(tokenizer, part))


def _truncate(tokenizer: Any, conversation: Conversation, rendered: Rendered, max_length: int) -> Fitted:
    """Remove the start of user and tool turns, oldest first; plain text loses its beginning."""
    cut, done = list(conversation), rendered
    for _ in range(_ATTEMPTS):
        excess = len(done.tokens) - max_length
        if excess <= 0:
            return Fitted([(tuple(cut), done)], len(rendered.tokens) - len(done.tokens))
        for place, message in enumerate(cut):
            if excess > 0 and message.role in ("user", "tool", TEXT_ROLE):
                shorter, removed = _cut_left(tokenizer, message, excess)
                cut[place], excess = shorter, excess - removed
        if excess > 0:
            return Fitted([], len(rendered.tokens))
        done = render(tokenizer, tuple(cut))
    fits = len(done.tokens) <= max_length
    return Fitted([(tuple(cut), done)] if fits else [], len(rendered.tokens) - (len(done.tokens) if fits else 0))


def _cut_left(tokenizer: Any, message: Message, excess: int) -> tuple[Message, int]:
    """The message without its first tokens, and the number of removed tokens; cuts fall between characters."""
    offsets = encode_plain(tokenizer, [message.content])[0].offsets
    removed = min(excess, len(offsets) - _LEAST_KEPT)
    if removed <= 0:
        return message, 0
    while removed < len(offsets) - 1 and offsets[removed][0] < offsets[removed - 1][1]:
        removed += 1  # tokens may share a character
    return replace(message, content=message.content[offsets[removed][0] :]), removed


def _text_pieces(tokenizer: Any, conversation: Conversation, max_length: int) -> list[tuple[Conversation, Rendered]]:
    """Consecutive pieces of a plain text, each followed by the end token."""
    text = conversation[0].content
    offsets = encode_plain(tokenizer, [text])[0].offsets
    pieces: list[Conversation] = []
    start, room = 0, max(1, max_length - 2)  # one for the end token, one because a cut may add a token
    while start < len(offsets):
        stop = min(start + room, len(offsets))
        while stop < len(offsets) and stop > start + 1 and offsets[stop][0] < offsets[stop - 1][1]:
            stop -= 1
        end = offsets[stop][0] if stop < len(offsets) else len(text)
        if (part := text[offsets[start][0] : end]).strip():
            pieces.append((Message(role=TEXT_ROLE, content=part),))
        start = stop
    return list(zip(pieces, render_many(tokenizer, pieces), strict=True))


def _turn_pieces(tokenizer: Any, conversation: Conversation, max_length: int) -> list[tuple[Conversation, Rendered]]:
    """Runs of complete exchanges that fit, each with the system message; an exchange that is too long stays alone."""
    system = conversation[:1] if conversation[0].role == "system" else ()
    tools = () if system else conversation[0].tools
    pieces: list[tuple[Conversation, Rendered]] = []
    current: Sequence[Message] = ()
    kept: Rendered | None = None
    for exchange in exchanges(conversation[len(system) :]):
        exchange[0] = replace(exchange[0], tools=tools) if tools else exchange[0]
        longer = (*system, *current, *exchange)
        done = render(tokenizer, longer)
        if kept is not None and len(done.tokens) > max_length:
            pieces.append(((*system, *current), kept))
            current, done = (), render(tokenizer, (*system, *exchange))
        current, kept = (*current, *exchange), done
        if len(done.tokens) > max_length:
            pieces.append(((*system, *current), done))
            current, kept = (), None
    if kept is not None:
        pieces.append(((*system, *current), kept))
    return pieces


def exchanges(turns: Conversation) -> list[list[Message]]:
    """Group turns so that each group starts with a user turn."""
    groups: list[list[Message]] = []
    for message in turns:
        if message.role == "user" or not groups:
            groups.append([])
        groups[-1].append(message)
    return groups
