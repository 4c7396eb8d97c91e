r"""The one text path: a conversation becomes token ids, and the answers in it are marked as supervised.

Training, validation, generation, the local provider and every export call `render`, so that the ids a model was trained
on and the ids it is served are the same ids. How a conversation is cut:

    <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n  |  Hello!<|im_end|>  |  \n
    prompt: exactly what `for_generation` gives              |  supervised        |  tail

Each segment is tokenized by itself, and within a segment each piece between two control tokens of the template. What
people wrote is tokenized without control tokens: a user who types `<|im_end|>` gets its letters, never the token.
"""

import re
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import xxhash

from hafs.errors import HafsError

TEXT_ROLE = "text"
_CHECKED_ROWS = 4  # rows of each role pattern whose fast form is compared with the real template
_PAD = "\t \n"  # around a sentinel: shows whether the template strips what it is given
_LOOKS_INSIDE = re.compile(
    r"\.\s*(l?r?split|replace|startswith|endswith|lower|upper)\s*\(|\bin\s+(message|content)\b|\bcontent\["
)
_PROBE_TEXT = "LDA #$0F ; naïve 你好 \n\t12345 don't"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn: `role` is system, user, assistant or tool, or text for plain text; `content` is what was said."""

    role: str
    content: str


Conversation: TypeAlias = tuple[Message, ...]


class Rendered(NamedTuple):
    """Token ids of one conversation, and for each whether the loss counts it."""

    tokens: list[int]
    supervised: list[bool]


class Slot(NamedTuple):
    """Literal text around messages, free of control tokens: literals[0] + contents[indexes[0]] + literals[1] + ..."""

    literals: tuple[str, ...]
    indexes: tuple[int, ...]


class Segment(NamedTuple):
    """A run of pieces between two supervised borders; a piece is ready ids or a `Slot` still to be filled."""

    pieces: list[list[int] | Slot]
    supervised: bool


@dataclass
class Plan:
    """How one role pattern is written: its segments, what the template strips, and how often that was checked."""

    segments: list[Segment]
    strips: list[tuple[bool, bool]]
    checked: dict[bool, int]


def render(tokenizer: Any, conversation: Conversation, *, for_generation: bool = False) -> Rendered:
    """Tokenize one conversation with the tokenizer's own chat template.

    Args:
        tokenizer: A transformers tokenizer.
        conversation: Messages in order; a single message of role "text" is plain text and takes no template.
        for_generation: Ask for the next answer: the prompt ends where an answer begins.

    Returns:
        T token ids and T flags; supervised are the answers and the token that ends each, nothing else.

    Raises:
        HafsError: The template refuses the conversation, rewrites earlier turns, or ends answers with no control token.
    """
    return _renderer(tokenizer).render([conversation], for_generation)[0]


def render_many(tokenizer: Any, conversations: Sequence[Conversation]) -> list[Rendered]:
    """`render` for many conversations at once, with the same results and the same errors, several times faster."""
    return _renderer(tokenizer).render(conversations, False)


def end_tokens(tokenizer: Any) -> list[int]:
    """Token ids that end an answer in generation: the template's own first, then the tokenizer's end of sequence."""
    found = [_renderer(tokenizer).end_id, tokenizer.eos_token_id]
    return [token for token in dict.fromkeys(found) if token is not None]


def encode_plain(tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """Encodings (`.ids`, `.offsets` in characters) of texts in which no control token is recognized."""
    return _renderer(tokenizer).backend_encode(texts, plain=True, offsets=True)


def template_fingerprint(tokenizer: Any) -> str:
    """Hash of all that decides ids: the template, the vocabulary's size, the control tokens and a probe's ids."""
    parts = (tokenizer.chat_template, len(tokenizer), sorted(_control_tokens(tokenizer).items()),
             tokenizer.eos_token_id, tokenizer(_PROBE_TEXT, add_special_tokens=False)["input_ids"])  # fmt: skip
    return xxhash.xxh3_128_hexdigest(repr(parts).encode())


def _control_tokens(tokenizer: Any) -> dict[str, int]:
    added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | {text: tokenizer.convert_tokens_to_ids(text) for text in tokenizer.all_special_tokens}


_RENDERERS: "weakref.WeakKeyDictionary[Any, _Renderer]" = weakref.WeakKeyDictionary()


def _renderer(tokenizer: Any) -> "_Renderer":
    known = _RENDERERS.get(tokenizer)
    if known is None or known.source != (tokenizer.chat_template, len(tokenizer)):
        known = _RENDERERS[tokenizer] = _Renderer(tokenizer)
    return known


class _Renderer:
    """What is known of one tokenizer: its control tokens, a private encoder, and a plan for each role pattern."""

    def __init__(self, tokenizer: Any) -> None:
        # weak: the registry above is keyed by the tokenizer and must not keep it alive
        self.tokenizer = weakref.proxy(tokenizer)
        self.source = (tokenizer.chat_template, len(tokenizer))
        self.control = _control_tokens(tokenizer)
        self.control_pattern = re.compile(
            "|".join(map(re.escape, sorted(self.control, key=len, reverse=True))) or r"(?!)"
        )
        self.literal = not _LOOKS_INSIDE.search(str(tokenizer.chat_template))
        self.plans: dict[tuple[tuple[str, ...], bool], Plan | None] = {}
        self.lock = threading.Lock()
        self._backend = self._end = None

    # encoding ---------------------------------------------------------------------------------------------------------

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
        return [encoding.ids for encoding in self.backend_encode(texts, plain=plain)] if texts else []

    # the template -----------------------------------------------------------------------------------------------------

    def write(self, conversation: Conversation, generation: bool = False) -> str:
        messages = [{"role": message.role, "content": message.content} for message in conversation]
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
        except Exception as error:  # templates raise what they like: jinja2's errors, ValueError, TypeError
            roles = ", ".join(message.role for message in conversation)
            hint = "reorder the roles, or choose a model whose chat template takes them"
            raise HafsError(f"the chat template refuses a conversation of ({roles}): {error}", hint=hint) from error

    @property
    def end_text(self) -> str:
        """What closes an answer in the template, up to and including its control token: `<|im_end|>`."""
        if self._end is None:
            mark = "hafs7answer"
            asked = (Message(role="user", content="hafs7question"), Message(role="assistant", content=mark))
            after = self.write(asked).rpartition(mark)[2]
            found = self.control_pattern.search(after)
            if not found or after[: found.start()].strip():
                raise HafsError(f"the chat template ends answers with {after[:20]!r}, which is no control token",
                                hint="use an Instruct model, whose template closes every answer")  # fmt: skip
            self._end = after[: found.end()]
        return self._end

    @property
    def end_id(self) -> int:
        return self.control[self.control_pattern.findall(self.end_text)[-1]]

    def cut(self, conversation: Conversation, generation: bool) -> list[tuple[str, bool]]:
        """The real template's text, cut at supervised borders: the reference that plans are checked against."""
        whole, done, parts = self.write(conversation, generation), 0, []
        for index, message in enumerate(conversation):
            if message.role != "assistant":
                continue
            prompt = self.write(conversation[:index], True) if index else whole[: whole.find(message.content.strip())]
            answered = self.write(conversation[: index + 1])
            answer = answered[len(prompt) :]
            stop = len(prompt) + answer.rfind(self.end_text) + len(self.end_text)
            if not (whole.startswith(prompt) and answered.startswith(prompt) and whole[:stop] == answered[:stop]
                    and self.end_text in answer):  # fmt: skip
                raise HafsError(f"the chat template writes turn {index + 1} differently once the conversation goes on, "
                                "so training and serving would see different prompts",
                                hint="split the conversation at this turn, or use another chat template")  # fmt: skip
            parts += [(whole[done : len(prompt)], False), (whole[len(prompt) : stop], True)]
            done = stop
        return [(text, flag) for text, flag in [*parts, (whole[done:], False)] if text]

    # plans ------------------------------------------------------------------------------------------------------------

    def plan(self, roles: tuple[str, ...], generation: bool) -> Plan | None:
        """The plan of a role pattern, or None where the template is not literal around its messages."""
        key = (roles, generation)
        if key not in self.plans:
            self.plans[key] = self._make_plan(roles, generation) if self.literal else None
        return self.plans[key]

    def _make_plan(self, roles: tuple[str, ...], generation: bool) -> Plan | None:
        marks = [f"hafs7mark{index}x" for index in range(len(roles))]
        marked = tuple(Message(role=role, content=_PAD + mark + _PAD) for role, mark in zip(roles, marks, strict=True))
        segments, strips, index = [], [], 0
        if any(self.write(marked, generation).count(mark) != 1 for mark in marks):
            return None
        for text, supervised in self.cut(marked, generation):
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
            for found in self.control_pattern.finditer(literal):
                close(literal[start : found.start()])
                add([self.control[found.group()]])
                start = found.end()
            if number < len(segment.indexes):
                literals.append(literal[start:])
                indexes.append(segment.indexes[number])
            else:
                close(literal[start:])
        return pieces

    # rendering --------------------------------------------------------------------------------------------------------

    def render(self, conversations: Sequence[Conversation], generation: bool) -> list[Rendered]:
        waiting: list[str] = []
        recipes = [self._recipe(conversation, generation, waiting) for conversation in conversations]
        ids = self.ids(waiting, plain=True)
        return [_join(recipe, ids) for recipe in recipes]

    def _recipe(self, conversation: Conversation, generation: bool, waiting: list[str]) -> list[tuple[Any, bool]]:
        """(ready ids or the place of a text in `waiting`, supervised) in order."""
        if len(conversation) == 1 and conversation[0].role == TEXT_ROLE:
            return self._plain_recipe(conversation[0].content, generation, waiting)
        plan = self.plan(tuple(message.role for message in conversation), generation)
        if plan is None or not self._holds(plan, conversation, generation):
            return self._slow_recipe(conversation, generation)
        contents, recipe = _stripped(plan, conversation), []
        for segment in plan.segments:
            for piece in segment.pieces:
                if isinstance(piece, Slot):
                    waiting.append(_fill(piece, contents))
                recipe.append((len(waiting) - 1 if isinstance(piece, Slot) else piece, segment.supervised))
        return recipe

    def _plain_recipe(self, text: str, generation: bool, waiting: list[str]) -> list[tuple[Any, bool]]:
        if self.tokenizer.eos_token_id is None:
            raise HafsError("the tokenizer has no end-of-sequence token to close plain text with")
        waiting.append(text)
        return [(len(waiting) - 1, True)] + ([] if generation else [([self.tokenizer.eos_token_id], True)])

    def _slow_recipe(self, conversation: Conversation, generation: bool) -> list[tuple[Any, bool]]:
        for message in conversation:
            if found := self.control_pattern.search(message.content):
                fact = f"the {message.role} message contains the control token {found.group()!r}, "
                raise HafsError(f"{fact}which this chat template cannot keep apart from its own", hint="remove it")
        parts = self.cut(conversation, generation)
        ids = self.ids([text for text, _ in parts], plain=False)
        return [(tokens, flag) for tokens, (_, flag) in zip(ids, parts, strict=True)]

    def _holds(self, plan: Plan, conversation: Conversation, generation: bool) -> bool:
        """Compare a plan's first rows with the real template, text and ids; a plan that differs is given up."""
        edged = any(message.content != message.content.strip() for message in conversation)
        if plan.checked[edged] >= _CHECKED_ROWS or any(self.control_pattern.search(m.content) for m in conversation):
            return True
        plan.checked[edged] += 1
        contents = _stripped(plan, conversation)
        parts = self.cut(conversation, generation)
        for segment, (_, flag), joint in zip(
            plan.segments, parts, self.ids([t for t, _ in parts], plain=False), strict=True
        ):
            filled = [_fill(piece, contents) for piece in segment.pieces if isinstance(piece, Slot)]
            done = iter(self.ids(filled, plain=True))
            own = [token for piece in segment.pieces for token in (next(done) if isinstance(piece, Slot) else piece)]
            if own != joint or flag != segment.supervised:
                self.plans[tuple(message.role for message in conversation), generation] = None
                return False
        return True


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


def _join(recipe: list[tuple[Any, bool]], ids: list[list[int]]) -> Rendered:
    tokens: list[int] = []
    supervised: list[bool] = []
    for piece, flag in recipe:
        found = ids[piece] if isinstance(piece, int) else piece
        tokens += found
        supervised += [flag] * len(found)
    return Rendered(tokens, supervised)
