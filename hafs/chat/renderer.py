"""Conversations to token ids: one plan for each role pattern, and every text of a batch in one tokenizer call."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from hafs.chat.messages import TEXT_ROLE, Conversation, Message, Rendered
from hafs.chat.template import Template
from hafs.chat.turns import Turns
from hafs.core.errors import HafsError

_CHECKED_ROWS = 4  # rows of each role pattern whose fast form is compared with the real template
_CONTEXT = "assistant, context"  # in a pattern: an answer that is not learned
_PAD = "\t \n"  # around a sentinel: shows whether the template strips what it is given


class Slot(NamedTuple):
    """Literal text around messages, free of control tokens: literals[0] + contents[indexes[0]] + literals[1] + ..."""

    literals: tuple[str, ...]
    indexes: tuple[int, ...]


class Segment(NamedTuple):
    """A run of pieces between two supervised borders; a piece is ready ids or a `Slot` still to be filled."""

    pieces: list[list[int] | Slot]
    supervised: bool


class Waiting(NamedTuple):
    """Texts to be tokenized in one call: without control tokens, and with them."""

    plain: list[str]
    marked: list[str]


Recipe: TypeAlias = Sequence[tuple[list[int] | int, bool]]
"""Ready ids, or the place of a text in `plain` (from 0 on) or in `marked` (from -1 down); and whether supervised."""
Pattern: TypeAlias = tuple[str, ...]


@dataclass
class Plan:
    """How one role pattern is written: its segments, what the template strips, and how often that was checked."""

    segments: list[Segment]
    strips: list[tuple[bool, bool]]
    checked: dict[bool, int]


class Renderer:
    """What is known of one tokenizer: its template, a private encoder, and a plan for each role pattern."""

    def __init__(self, tokenizer: Any) -> None:
        self.template = Template(tokenizer)
        self.turns = Turns(self.template)
        self.tokenizer = self.template.tokenizer
        self.source = (tokenizer.chat_template, len(tokenizer))
        self.plans: dict[tuple[tuple[str, ...], bool], Plan | None] = {}
        self.samples: dict[tuple[str, ...], list[Pattern]] = {}
        self.lock = threading.Lock()
        self._backend: Any = None

    def backend_encode(self, texts: Sequence[str], *, plain: bool, offsets: bool = False) -> list[Any]:
        """Encode with a private copy of the tokenizer's backend, so that nobody else's settings are changed or met."""
        with self.lock:
            if self._backend is None:
                from tokenizers import Tokenizer

                source = getattr(self.tokenizer, "backend_tokenizer", None)
                if not isinstance(source, Tokenizer):
                    raise HafsError(f"tokenizer {type(self.tokenizer).__name__!r} has no fast form, which hafs needs",
                                    hint="load it with use_fast=true, or save it once as tokenizer.json")  # fmt: skip
                self._backend = Tokenizer.from_str(source.to_str())
                self._backend.no_padding()
                self._backend.no_truncation()
            self._backend.encode_special_tokens = plain
            encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
            return encode(list(texts), add_special_tokens=False)

    def ids(self, texts: Sequence[str], *, plain: bool) -> list[list[int]]:
        """Token ids of each text."""
        return [encoding.ids for encoding in self.backend_encode(texts, plain=plain)] if texts else []

    def plan(self, conversation: Conversation, generation: bool) -> Plan | None:
        """The plan of a conversation's pattern, or None where the template is not literal around its messages."""
        if not self.template.literal_for(conversation):
            return None
        key = (_pattern(conversation), generation)
        if key not in self.plans:
            self.plans[key] = self._make_plan(key[0], generation)
        return self.plans[key]

    def unfold(self, conversation: Conversation) -> list[Conversation]:
        """The samples of a conversation; most templates make one."""
        if len(conversation) < 4:
            return [conversation]
        settled = self.template.settled(conversation)
        if settled is not conversation:
            return [_matched(sample, conversation) for sample in self.unfold(settled)]
        if self.plan(conversation, False) is None:
            return self.turns.unfold(conversation)
        pattern = _pattern(conversation)
        if pattern not in self.samples:
            self.samples[pattern] = [_pattern(sample) for sample in self.turns.unfold(_marked(pattern)[1])]
        return [_as(pattern, conversation) for pattern in self.samples[pattern]]

    def _make_plan(self, roles: tuple[str, ...], generation: bool) -> Plan | None:
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
            segments.append(Segment(self._pieces(Slot((*literals, rest), tuple(indexes))), supervised))
        return Plan(segments, strips, {False: 0, True: 0}) if index == len(marks) else None

    def _pieces(self, segment: Slot) -> list[list[int] | Slot]:
        """Cut a segment at the template's control tokens; pieces without a message become ids once and for all."""
        pieces: list[list[int] | Slot] = []
        literals: list[str] = []
        indexes: list[int] = []

        def add(ids: list[int]) -> None:
            if pieces and isinstance(pieces[-1], list):
                pieces[-1] += ids
            else:
                pieces.append(list(ids))

        def close(text: str) -> None:
            if indexes:
                pieces.append(Slot((*literals, text), tuple(indexes)))
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
        """Render a batch: plan it, tokenize what is not known yet in one call, put the pieces together."""
        waiting = Waiting([], [])
        recipes = [self._recipe(conversation, generation, waiting) for conversation in conversations]
        ids = self.ids(waiting.plain, plain=True) + self.ids(waiting.marked, plain=False)
        return [_join(recipe, ids, len(waiting.plain)) for recipe in recipes]

    def _recipe(self, conversation: Conversation, generation: bool, waiting: "Waiting") -> "Recipe":
        if len(conversation) == 1 and conversation[0].role == TEXT_ROLE:
            return self._plain_recipe(conversation[0].content, generation, waiting)
        conversation = self.template.settled(conversation)
        plan = self.plan(conversation, generation)
        if plan is None or not self._holds(plan, conversation, generation):
            return self._slow_recipe(conversation, generation, waiting)
        contents, recipe = _stripped(plan, conversation), []
        for segment in plan.segments:
            for piece in segment.pieces:
                if isinstance(piece, Slot):
                    waiting.plain.append(_fill(piece, contents))
                recipe.append((len(waiting.plain) - 1 if isinstance(piece, Slot) else piece, segment.supervised))
        return recipe

    def _plain_recipe(self, text: str, generation: bool, waiting: "Waiting") -> "Recipe":
        if self.tokenizer.eos_token_id is None:
            raise HafsError("the tokenizer has no end-of-sequence token to close plain text with")
        waiting.plain.append(text)
        return [(len(waiting.plain) - 1, True)] + ([] if generation else [([self.tokenizer.eos_token_id], True)])

    def _slow_recipe(self, conversation: Conversation, generation: bool, waiting: "Waiting") -> "Recipe":
        recipe: list[tuple[list[int] | int, bool]] = []
        for part, flag in self.turns.cut(conversation, generation):
            for text, letters in self.template.runs(part):
                (waiting.plain if letters else waiting.marked).append(text)
                recipe.append((len(waiting.plain) - 1 if letters else -len(waiting.marked), flag))
        return recipe

    def _holds(self, plan: Plan, conversation: Conversation, generation: bool) -> bool:
        """Compare a plan's first rows with the real template, text and ids; a plan that differs is given up."""
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
            filled = [_fill(piece, contents) for piece in segment.pieces if isinstance(piece, Slot)]
            done = iter(self.ids(filled, plain=True))
            own = [token for piece in segment.pieces for token in (next(done) if isinstance(piece, Slot) else piece)]
            if own != joint or flag != segment.supervised:
                self.plans[_pattern(conversation), generation] = None
                return False
        return True


def _pattern(conversation: Conversation) -> Pattern:
    """What a plan is made for: the roles in order, and which answers are learned."""
    return tuple([message.role if message.learned else _CONTEXT for message in conversation])


def _marked(pattern: Pattern) -> tuple[list[str], Conversation]:
    """A conversation of this pattern whose contents are marks."""
    marks = [f"hafs7mark{index}x" for index in range(len(pattern))]
    return marks, tuple(
        Message(role=role.partition(",")[0], content=_PAD + mark + _PAD, learned=role != _CONTEXT)
        for role, mark in zip(pattern, marks, strict=True)
    )


def _matched(sample: Conversation, conversation: Conversation) -> Conversation:
    """The beginning of a conversation, with as many answers as a sample of its told form, learned as there."""
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


def _as(pattern: Pattern, conversation: Conversation) -> Conversation:
    """The beginning of a conversation, with the answers learned that the pattern says."""
    return tuple(
        message if message.learned == (role != _CONTEXT) else replace(message, learned=role != _CONTEXT)
        for role, message in zip(pattern, conversation, strict=False)
    )


def _stripped(plan: Plan, conversation: Conversation) -> list[str]:
    contents = []
    for message, (left, right) in zip(conversation, plan.strips, strict=True):
        text = message.content.lstrip() if left else message.content
        contents.append(text.rstrip() if right else text)
    return contents


def _fill(slot: Slot, contents: list[str]) -> str:
    text = slot.literals[0]
    for index, literal in zip(slot.indexes, slot.literals[1:], strict=True):
        text += contents[index] + literal
    return text


def _join(recipe: "Recipe", ids: list[list[int]], plain: int) -> Rendered:
    tokens: list[int] = []
    supervised: list[bool] = []
    for piece, flag in recipe:
        found = piece if isinstance(piece, list) else ids[piece if piece >= 0 else plain - 1 - piece]
        tokens += found
        supervised += [flag] * len(found)
    return Rendered(tokens, supervised)
