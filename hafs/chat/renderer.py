"""Render conversations to token ids: one cached plan per sequence of roles, one tokenizer call per batch."""

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hafs.chat.answers import AnswerCutter
from hafs.chat.call_frame import CallFrame, find_frame
from hafs.chat.call_parser import CallSyntax, find_syntax
from hafs.chat.messages import TEXT_ROLE, Conversation, Rendered
from hafs.chat.render_plan import (
    PAD,
    PendingTexts,
    PlanSegment,
    RenderPlan,
    RolePattern,
    TextSlot,
    TokenRecipe,
    edges_of,
    filled_slot,
    joined,
    marked_conversation,
    matched_prefix,
    pattern_of,
    stripped,
    with_pattern,
)
from hafs.chat.template import Template
from hafs.core.errors import HafsError

_CHECKED_ROWS = 4  # rows per role pattern that are also rendered by the template itself and compared
_KEPT_PIECES = 1000


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
        self.pieces: dict[str, list[int]] = {}
        self._cuts_checked, self._cuts_hold = 0, True

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
        key = (pattern_of(conversation), generation)
        if key not in self.plans:
            self.plans[key] = self._make_plan(key[0], generation)
        return self.plans[key]

    def unfold(self, conversation: Conversation) -> list[Conversation]:
        """The samples of a conversation; see `AnswerCutter.unfold`."""
        if len(conversation) < 4:
            return [conversation]
        with_prompted_tools = self.template.with_prompted_tools(conversation)
        if with_prompted_tools is not conversation:
            return [matched_prefix(sample, conversation) for sample in self.unfold(with_prompted_tools)]
        if self.plan(conversation, False) is None:
            return self.turns.unfold(conversation)
        pattern = pattern_of(conversation)
        if pattern not in self.samples:
            self.samples[pattern] = [
                pattern_of(sample) for sample in self.turns.unfold(marked_conversation(pattern)[1])
            ]
        return [with_pattern(pattern, conversation) for pattern in self.samples[pattern]]

    def _make_plan(self, roles: tuple[str, ...], generation: bool) -> RenderPlan | None:
        marks, marked = marked_conversation(roles)
        segments, strips, index = [], [], 0
        parts = self.turns.cut(marked, generation)
        if any(sum(text.count(mark) for text, _ in parts) != 1 for mark in marks):
            return None
        for text, supervised in parts:
            literals, indexes, rest = [], [], text
            while index < len(marks) and marks[index] in rest:
                before, _, rest = rest.partition(marks[index])
                left, right = before.endswith(PAD), rest.startswith(PAD)
                literals.append(before.removesuffix(PAD) if left else before)
                rest = rest.removeprefix(PAD) if right else rest
                strips.append((not left, not right))
                indexes.append(index)
                index += 1
            segments.append(PlanSegment(self._pieces(TextSlot((*literals, rest), tuple(indexes))), supervised))
        return RenderPlan(segments, strips, Counter()) if index == len(marks) else None

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
        marked = self.ids(waiting.marked, plain=False)
        self._remember(waiting.marked, marked)
        ids = self.ids(waiting.plain, plain=True) + marked
        return [joined(recipe, ids, len(waiting.plain)) for recipe in recipes]

    def _recipe(self, conversation: Conversation, generation: bool, waiting: PendingTexts) -> TokenRecipe:
        if len(conversation) == 1 and conversation[0].role == TEXT_ROLE:
            return self._plain_recipe(conversation[0].content, generation, waiting)
        conversation = self.template.with_prompted_tools(conversation)
        plan = self.plan(conversation, generation)
        if plan is None or not self._holds(plan, conversation, generation):
            return self._slow_recipe(conversation, generation, waiting)
        contents, recipe = stripped(plan, conversation), []
        for segment in plan.segments:
            for piece in segment.pieces:
                if isinstance(piece, TextSlot):
                    waiting.plain.append(filled_slot(piece, contents))
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
                if letters:
                    waiting.plain.append(text)
                    recipe.append((len(waiting.plain) - 1, flag))
                    continue
                for piece in self._marked_pieces(text):
                    if piece in self.pieces:
                        recipe.append((self.pieces[piece], flag))
                    else:
                        waiting.marked.append(piece)
                        recipe.append((-len(waiting.marked), flag))
        return recipe

    def _marked_pieces(self, text: str) -> list[str]:
        """A text cut at its control tokens, if the tokenizer encodes the pieces as it encodes the whole."""
        borders = [border for found in self.template.control_pattern.finditer(text) for border in found.span()]
        pieces = [text[i:j] for i, j in itertools.pairwise([0, *borders, len(text)]) if i < j]
        if self._cuts_checked < _CHECKED_ROWS * 10 and len(pieces) > 1:
            self._cuts_checked += 1
            joint = self.ids([text], plain=False)[0]
            self._cuts_hold &= joint == [token for ids in self.ids(pieces, plain=False) for token in ids]
        return pieces if self._cuts_hold else [text]

    def _remember(self, texts: Sequence[str], ids: Sequence[list[int]]) -> None:
        """Keep the ids of the first texts: a template's own pieces come back in every row."""
        for text, found in zip(texts, ids, strict=True):
            if len(self.pieces) >= _KEPT_PIECES:
                break
            self.pieces[text] = found

    def _holds(self, plan: RenderPlan, conversation: Conversation, generation: bool) -> bool:
        """Compare the first rows of a plan with the template's own output; drop the plan if they differ."""
        edges = edges_of(conversation)
        if all(plan.checked[edge] >= _CHECKED_ROWS for edge in edges) or any(
            self.template.control_pattern.search(m.content) for m in conversation
        ):
            return True
        plan.checked.update(edges)
        contents = stripped(plan, conversation)
        parts = self.turns.cut(conversation, generation)
        for segment, (_, flag), joint in zip(
            plan.segments, parts, self.ids([t for t, _ in parts], plain=False), strict=True
        ):
            filled = [filled_slot(piece, contents) for piece in segment.pieces if isinstance(piece, TextSlot)]
            done = iter(self.ids(filled, plain=True))
            own = [
                token for piece in segment.pieces for token in (next(done) if isinstance(piece, TextSlot) else piece)
            ]
            if own != joint or flag != segment.supervised:
                self.plans[pattern_of(conversation), generation] = None
                return False
        return True
