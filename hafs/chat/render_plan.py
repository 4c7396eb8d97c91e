"""Plans of rendering: what one sequence of roles looks like in tokens, and how messages are put into it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from hafs.chat.messages import Conversation, Message, Rendered

_CONTEXT = "assistant, context"  # in a pattern: an answer that is not learned
PAD = "\t \n"
"""Around a mark: shows whether the template strips white space from messages."""


class TextSlot(NamedTuple):
    """Literal text around messages, free of control tokens: literals[0] + contents[indexes[0]] + literals[1] + ..."""

    literals: tuple[str, ...]
    indexes: tuple[int, ...]


class PlanSegment(NamedTuple):
    """The pieces of one supervised or unsupervised segment; a piece is token ids or a `TextSlot` to be filled."""

    pieces: list[list[int] | TextSlot]
    supervised: bool


class PendingTexts(NamedTuple):
    """Texts to tokenize in one call: `plain` without and `marked` with control tokens."""

    plain: list[str]
    marked: list[str]


TokenRecipe: TypeAlias = Sequence[tuple[list[int] | int, bool]]
"""Token ids, or the index of a text in `plain` (0, 1, ...) or `marked` (-1, -2, ...), and whether it is supervised."""
Edge: TypeAlias = tuple[str, str, str]
"""Role of a message, first or last, and the white space there."""
RolePattern: TypeAlias = tuple[str, ...]


@dataclass
class RenderPlan:
    """How to render one sequence of roles: its segments, which whitespace is stripped, and how often it was checked."""

    segments: list[PlanSegment]
    strips: list[tuple[bool, bool]]
    checked: Counter[Edge]


def pattern_of(conversation: Conversation) -> RolePattern:
    """The key of a plan: the roles in order, and which answers are learned."""
    return tuple([message.role if message.learned else _CONTEXT for message in conversation])


def marked_conversation(pattern: RolePattern) -> tuple[list[str], Conversation]:
    """A conversation of this pattern with marks as contents."""
    marks = [f"hafs7mark{index}x" for index in range(len(pattern))]
    return marks, tuple(
        Message(role=role.partition(",")[0], content=PAD + mark + PAD, learned=role != _CONTEXT)
        for role, mark in zip(pattern, marks, strict=True)
    )


def matched_prefix(sample: Conversation, conversation: Conversation) -> Conversation:
    """The prefix of a conversation that corresponds to a sample of its form with prompted tools."""
    learned = iter([message.learned for message in sample if message.role == "assistant"])
    found: list[Message] = []
    for message in conversation:
        flag = next(learned, None) if message.role == "assistant" else message.learned
        if flag is None:
            break
        found.append(message if message.learned == flag else replace(message, learned=flag))
    while found and found[-1].role != "assistant":
        found.pop()
    return tuple(found)


def with_pattern(pattern: RolePattern, conversation: Conversation) -> Conversation:
    """The prefix of a conversation with the learned answers of a pattern."""
    return tuple(
        message if message.learned == (role != _CONTEXT) else replace(message, learned=role != _CONTEXT)
        for role, message in zip(pattern, conversation, strict=False)
    )


def edges_of(conversation: Conversation) -> list[Edge]:
    """The kinds of white space at the edges of messages; templates strip some of them."""
    found = [("", "", "")]
    for message in conversation:
        text = message.content
        if text[0].isspace():
            found.append((message.role, "first", text[0]))
        if text[-1].isspace():
            found.append((message.role, "last", text[-1]))
    return found


def stripped(plan: RenderPlan, conversation: Conversation) -> list[str]:
    """The contents of messages, without the white space that the template strips."""
    contents = []
    for message, (left, right) in zip(conversation, plan.strips, strict=True):
        text = message.content.lstrip() if left else message.content
        contents.append(text.rstrip() if right else text)
    return contents


def filled_slot(slot: TextSlot, contents: list[str]) -> str:
    """The text of a slot with its messages."""
    text = slot.literals[0]
    for index, literal in zip(slot.indexes, slot.literals[1:], strict=True):
        text += contents[index] + literal
    return text


def joined(recipe: TokenRecipe, ids: list[list[int]], plain: int) -> Rendered:
    """Tokens and flags of a recipe.

    Args:
        recipe: The pieces in order.
        ids: Token ids of the pending texts, `plain` ones first.
        plain: The number of plain texts.
    """
    tokens: list[int] = []
    supervised: list[bool] = []
    for piece, flag in recipe:
        found = piece if isinstance(piece, list) else ids[piece if piece >= 0 else plain - 1 - piece]
        tokens += found
        supervised += [flag] * len(found)
    return Rendered(tokens, supervised)
