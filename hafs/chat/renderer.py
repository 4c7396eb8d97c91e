"""Render conversations to token ids: one cached plan per sequence of roles, one tokenizer call per batch."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from hafs.chat.answers import AnswerCutter
from hafs.chat.call_frame import CallFrame, find_frame
from hafs.chat.call_parser import CallSyntax, find_syntax
from hafs.chat.messages import TEXT_ROLE, Conversation, Message, Rendered
from hafs.chat.template import Template
from hafs.core.errors import HafsError

_CHECKED_ROWS = 4  # rows per role pattern that are also rendered by the template itself and compared
_CONTEXT = "assistant, context"  # in a pattern: an answer that is not learned
_PAD = "\t \n"  # around a mark: shows whether the template strips whitespace from messages


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
RolePattern: TypeAlias = tuple[str, ...]


@dataclass
class RenderPlan:
    """How to render one sequence of roles: its segments, which whitespace is stripped, and how often it was checked."""

    segments: list[PlanSegment]
    strips: list[tuple[bool, bool]]
    checked: dict[bool, int]


class Renderer:
    """Renders conversations for one tokenizer; it caches the encoder and one plan per sequence of roles."""

    def __init__(self, tokenizer: Any) -> None:
        self.template = Template(tokenizer)
        self.turns = AnswerCutter(self.template)
        self.tokenizer = self.template.tokenizer
        self.source = (tokenizer.chat_template, len(tokenizer))
        self.plans: dict[tuple[tuple[str, ...], bool], RenderPlan | None] = {}
        self.samples: dict[tuple[str, ...], list[RolePattern]] = {}
        self.lock = threading.Lock()
        self._syntax: tuple[CallSyntax | None] | None = None
        self._backend: Any = None

    @property
    def call_syntax(self) -> CallSyntax | None:
        """The syntax in which the model writes tool calls; None if it is not supported."""
        if self._syntax is None:
            self._syntax = (find_syntax(self.turns),)
        return self._syntax[0]

    @cached_property
    def call_frame(self) -> CallFrame | None:
        """The literal text around the model's tool calls; None if a grammar cannot follow them."""
        return find_frame(self.turns, self.call_syntax) if self.call_syntax else None

    def backend_encode(self, texts: Sequence[str], *, plain: bool, offsets: bool = False) -> list[Any]:
        """Encode with a private copy of the tokenizer's backend, so that settings are never shared with other code."""
        with self.lock:
            if self._backend is None:
                from tokenizers import Tokenizer

                source = getattr(self.tokenizer, "backend_tokenizer", None)
                if not isinstance(source, Tokenizer):
                    fact = f"tokenizer {type(self.tokenizer).__name__!r} is not a fast tokenizer, which hafs needs"
                    raise HafsError(fact, hint="load it with use_fast=true, or convert it to tokenizer.json")
                self._backend = Tokenizer.from_str(source.to_str())
                self._backend.no_padding()
                self._backend.no_truncation()
            self._backend.encode_special_tokens = plain
            encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
            return encode(list(texts), add_special_tokens=False)

    def ids(self, texts: Sequence[str], *, plain: bool) -> list[list[int]]:
        """Token ids of each text."""
        return [encoding.ids for encoding in self.backend_encode(texts, plain=plain)] if texts else []

    def plan(self, conversation: Conversation, generation: bool) -> RenderPlan | None:
        """The plan of a conversation's roles, or None if the template does not copy messages literally."""
        if not self.template.literal_for(conversation):
            return None
        key = (_pattern(conversation), generation)
        if key not in self.plans:
            self.plans[key] = self._make_plan(key[0], generation)
        return self.plans[key]

    def unfold(self, conversation: Conversation) -> list[Conversation]:
        """The samples of a conversation; see `AnswerCutter.unfold`."""
        if len(conversation) < 4:
            return [conversation]
        with_prompted_tools = self.template.with_prompted_tools(conversation)
        if with_prompted_tools is not conversation:
            return [_matched(sample, conversation) for sample in self.unfold(with_prompted_tools)]
        if self.plan(conversation, False) is None:
            return self.turns.unfold(conversation)
        pattern = _pattern(conversation)
        if pattern not in self.samples:
            self.samples[pattern] = [_pattern(sample) for sample in self.turns.unfold(_marked(pattern)[1])]
        return [_as(pattern, conversation) for pattern in self.samples[pattern]]

    def _make_plan(self, roles: tuple[str, ...], generation: bool) -> RenderPlan | None:
        marks, marked = _marked(roles)
        segments, strips, index = [], [], 0
        parts = self.turns.cut(marked, generation)
        if any(sum(text.count(mark) for text, _ in parts) != 1 for mark in marks):
            return None
        for text, supervised in parts:
            literals, indexes, rest = [], [], text
            while index < len(marks) and marks[index] in rest:
                before, _, rest = rest.partition(marks[index])
                left, right = before.endswith(_PAD), rest.startswith(_PAD)
                literals.append(before.removesuffix(_PAD) if left else before)
                rest = rest.removeprefix(_PAD) if right else rest
                strips.append((not left, not right))
                indexes.append(index)
                index += 1
            segments.append(PlanSegment(self._pieces(TextSlot((*literals, rest), tuple(indexes))), supervised))
        return RenderPlan(segments, strips, {False: 0, True: 0}) if index == len(marks) else None

    def _pieces(self, segment: TextSlot) -> list[list[int] | TextSlot]:
        """Cut a segment at control tokens; pieces without a message are tokenized now."""
        pieces: list[list[int] | TextSlot] = []
        literals: list[str] = []
        indexes: list[int] = []

        def add(ids: list[int]) -> None:
            if pieces and isinstance(pieces[-1], list):
                pieces[-1] += ids
            else:
                pieces.append(list(ids))

        def close(text: str) -> None:
            if indexes:
                pieces.append(TextSlot((*literals, text), tuple(indexes)))
            elif text:
                add(self.ids([text], plain=True)[0])
            literals.clear()
            indexes.clear()

        for number, literal in enumerate(segment.literals):
            start = 0
            for found in self.template.control_pattern.finditer(literal):
                close(literal[start : found.start()])
                add([self.template.control[found.group()]])
                start = found.end()
            if number < len(segment.indexes):
                literals.append(literal[start:])
                indexes.append(segment.indexes[number])
            else:
                close(literal[start:])
        return pieces

    def render(self, conversations: Sequence[Conversation], generation: bool) -> list[Rendered]:
        """Render a batch: collect its pieces, tokenize them in one call, join them."""
        waiting = PendingTexts([], [])
        recipes = [self._recipe(conversation, generation, waiting) for conversation in conversations]
        ids = self.ids(waiting.plain, plain=True) + self.ids(waiting.marked, plain=False)
        return [_join(recipe, ids, len(waiting.plain)) for recipe in recipes]

    def _recipe(self, conversation: Conversation, generation: bool, waiting: PendingTexts) -> TokenRecipe:
        if len(conversation) == 1 and conversation[0].role == TEXT_ROLE:
            return self._plain_recipe(conversation[0].content, generation, waiting)
        conversation = self.template.with_prompted_tools(conversation)
        plan = self.plan(conversation, generation)
        if plan is None or not self._holds(plan, conversation, generation):
            return self._slow_recipe(conversation, generation, waiting)
        contents, recipe = _stripped(plan, conversation), []
        for segment in plan.segments:
            for piece in segment.pieces:
                if isinstance(piece, TextSlot):
                    waiting.plain.append(_fill(piece, contents))
                recipe.append((len(waiting.plain) - 1 if isinstance(piece, TextSlot) else piece, segment.supervised))
        return recipe

    def _plain_recipe(self, text: str, generation: bool, waiting: PendingTexts) -> TokenRecipe:
        if self.tokenizer.eos_token_id is None:
            raise HafsError("the tokenizer has no end-of-sequence token to close plain text with")
        waiting.plain.append(text)
        return [(len(waiting.plain) - 1, True)] + ([] if generation else [([self.tokenizer.eos_token_id], True)])

    def _slow_recipe(self, conversation: Conversation, generation: bool, waiting: PendingTexts) -> TokenRecipe:
        recipe: list[tuple[list[int] | int, bool]] = []
        for part, flag in self.turns.cut(conversation, generation):
            for text, letters in self.template.runs(part):
                (waiting.plain if letters else waiting.marked).append(text)
                recipe.append((len(waiting.plain) - 1 if letters else -len(waiting.marked), flag))
        return recipe

    def _holds(self, plan: RenderPlan, conversation: Conversation, generation: bool) -> bool:
        """Compare the first rows of a plan with the template's own output; drop the plan if they differ."""
        edged = any(message.content != message.content.strip() for message in conversation)
        if plan.checked[edged] >= _CHECKED_ROWS or any(
            self.template.control_pattern.search(m.content) for m in conversation
        ):
            return True
        plan.checked[edged] += 1
        contents = _stripped(plan, conversation)
        parts = self.turns.cut(conversation, generation)
        for segment, (_, flag), joint in zip(
            plan.segments, parts, self.ids([t for t, _ in parts], plain=False), strict=True
        ):
            filled = [_fill(piece, contents) for piece in segment.pieces if isinstance(piece, TextSlot)]
            done = iter(self.ids(filled, plain=True))
            own = [
                token for piece in segment.pieces for token in (next(done) if isinstance(piece, TextSlot) else piece)
            ]
            if own != joint or flag != segment.supervised:
                self.plans[_pattern(conversation), generation] = None
                return False
        return True


def _pattern(conversation: Conversation) -> RolePattern:
    """The key of a plan: the roles in order, and which answers are learned."""
    return tuple([message.role if message.learned else _CONTEXT for message in conversation])


def _marked(pattern: RolePattern) -> tuple[list[str], Conversation]:
    """A conversation of this pattern with marks as contents."""
    marks = [f"hafs7mark{index}x" for index in range(len(pattern))]
    return marks, tuple(
        Message(role=role.partition(",")[0], content=_PAD + mark + _PAD, learned=role != _CONTEXT)
        for role, mark in zip(pattern, marks, strict=True)
    )


def _matched(sample: Conversation, conversation: Conversation) -> Conversation:
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


def _as(pattern: RolePattern, conversation: Conversation) -> Conversation:
    """The prefix of a conversation with the learned answers of a pattern."""
    return tuple(
        message if message.learned == (role != _CONTEXT) else replace(message, learned=role != _CONTEXT)
        for role, message in zip(pattern, conversation, strict=False)
    )


def _stripped(plan: RenderPlan, conversation: Conversation) -> list[str]:
    contents = []
    for message, (left, right) in zip(conversation, plan.strips, strict=True):
        text = message.content.lstrip() if left else message.content
        contents.append(text.rstrip() if right else text)
    return contents


def _fill(slot: TextSlot, contents: list[str]) -> str:
    text = slot.literals[0]
    for index, literal in zip(slot.indexes, slot.literals[1:], strict=True):
        text += contents[index] + literal
    return text


def _join(recipe: TokenRecipe, ids: list[list[int]], plain: int) -> Rendered:
    tokens: list[int] = []
    supervised: list[bool] = []
    for piece, flag in recipe:
        found = piece if isinstance(piece, list) else ids[piece if piece >= 0 else plain - 1 - piece]
        tokens += found
        supervised += [flag] * len(found)
    return Rendered(tokens, supervised)
