"""A tokenizer's chat template: it renders conversations, and its features are found by probing."""

import re
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from hafs.chat.messages import Call, Conversation, Message
from hafs.chat.prompted_tools import prompt_tools
from hafs.chat.template_messages import (
    MESSAGE_FORMATS,
    TOOL,
    MessageFormat,
    map_strings,
    template_message,
    with_call_ids,
)
from hafs.core.errors import HafsError

_CASE = re.compile(
    r"([\w.\[\]'\"]*)\s*(?:\.\s*(?:lower|upper|title|capitalize)\s*\(|\|\s*(?:lower|upper|title|capitalize)\b)"
)
_REPLACES = re.compile(r"[.|]\s*replace\s*\(\s*(?:'([^']+)'|\"([^\"]+)\")?")
_CUTS = re.compile(
    r"\bcontent(?:['\"]\])?\s*\[\s*[-:\d]|(?<!['\")])\s*\|\s*indent\b"
    r"|(?<!['\"])\.\s*format\s*\(|\.\s*format\s*\([^)]*content"
)
_NO_CONTENT = re.compile(r"(?:role|type|mode|effort|key|value)(?:['\"]\])?$")
_METHOD = re.compile(r"\.\s*(?:l?r?split|startswith|endswith|partition|count|find)\s*\(\s*(?:'([^']*)'|\"([^\"]*)\")")
_WITHIN = re.compile(r"(?:'([^'\n]*)'|\"([^\"\n]*)\")\s+(?:not\s+)?in\s+([\w.]+(?:\[[^\]]*\])*(?:\.\w+)*)")
_NO_TEXT = re.compile(r"^(?:message|messages\[[^\]]*\]|msg|m|item|tool\w*|loop\.\w+|function|call|param\w*|\w*_block)$")
_LETTERS = 0x100000  # private-use characters from here on replace control tokens that a message spells out
_CACHED_TEXTS = 64  # cutting one conversation renders the same prefixes several times


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """The tokenizer's special tokens and their ids."""
    added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | {text: tokenizer.convert_tokens_to_ids(text) for text in tokenizer.all_special_tokens}


class Template:
    """The chat template of one tokenizer; it holds a weak reference to the tokenizer.

    Attributes:
        control: The control tokens and their ids.
        control_pattern: Matches any of them, the longest first.
        looks_for: Strings that the template searches for in messages. If a message contains none of them, the template
            copies it literally. None: the template transforms messages, so no message is copied literally.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = weakref.proxy(tokenizer)
        self.control = control_tokens(tokenizer)
        longest_first = sorted(self.control, key=len, reverse=True)
        self.control_pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.looks_for = _looks_for(str(tokenizer.chat_template))
        self._letters = {text: chr(_LETTERS + place) for place, text in enumerate(self.control)}
        self._texts = {letter: text for text, letter in self._letters.items()}
        self._letter_pattern = re.compile(f"[{chr(_LETTERS)}-{chr(_LETTERS + len(self.control))}]")
        self._wants_parts: bool | None = None
        self._has_reasoning_field: bool | None = None
        self._format = MessageFormat()
        self._knows_tools: bool | None = None
        self._shows_system: bool | None = None
        self._cached = lru_cache(_CACHED_TEXTS)(self._write)

    def literal_for(self, conversation: Conversation) -> bool:
        """Whether the template copies these messages literally."""
        if self.looks_for is None:
            return False
        for message in conversation:
            content = message.content
            if message.calls or message.tools or message.reasoning or message.name or message.call_id:
                return False
            if not content or "<think>" in content or any(part in content for part in self.looks_for):
                return False
        return True

    def write(self, conversation: Conversation, generation: bool = False) -> str:
        """Render a conversation, or a prompt if `generation` asks for the next answer.

        Control tokens that a message spells out are replaced by private-use characters; `runs` restores their letters.

        Raises:
            HafsError: The template rejects the conversation.
        """
        return self._cached(conversation, generation)

    def _write(self, conversation: Conversation, generation: bool) -> str:
        try:
            return self._in_format(with_call_ids(conversation), generation, self._format)
        except Exception as error:  # templates raise errors of many types: jinja2's, ValueError, TypeError
            roles = ", ".join(message.role for message in conversation)
            if not conversation[0].tools and self._needs_tools():
                raise HafsError("the chat template refuses conversations without tools",
                                hint="use the model's other chat template, or rows with tools") from error  # fmt: skip
            hint = "reorder the roles, or choose a model whose chat template accepts them"
            raise HafsError(f"the chat template refuses a conversation of ({roles}): {error}", hint=hint) from error

    def _in_format(self, conversation: Conversation, generation: bool, form: MessageFormat) -> str:
        reasons = any(message.reasoning or "<think>" in message.content for message in conversation)
        field = not reasons or self.has_reasoning_field
        messages = [template_message(m, form, has_reasoning_field=field, escape=self._escape) for m in conversation]
        if self.wants_parts:
            messages = [message | {"content": _as_parts(message["content"])} for message in messages]
        tools = [map_strings(tool, self._escape) for tool in conversation[0].tools] if conversation else []
        return self.tokenizer.apply_chat_template(
            messages, tools=tools or None, tokenize=False, add_generation_prompt=generation
        )

    def _escape(self, text: str) -> str:
        if self._letter_pattern.search(text):
            code = ord(self._letter_pattern.findall(text)[0])
            raise HafsError(f"a message contains the private-use character U+{code:X}", hint="remove it")
        return self.control_pattern.sub(lambda found: self._letters[found.group()], text)

    @property
    def wants_parts(self) -> bool:
        """Whether the template renders content only as a list of parts, and omits plain strings."""
        if self._wants_parts is None:
            self._wants_parts = False
            if not self._shows_a_question():
                self._wants_parts = True
                self._wants_parts = self._shows_a_question()
        return self._wants_parts

    def _shows_a_question(self) -> bool:
        return "hafs7question" in self._try_write((Message(role="user", content="hafs7question"),))

    def _needs_tools(self) -> bool:
        asked = Message(role="user", content="hafs7question")
        return not self._try_write((asked,)) and bool(self._try_write((replace(asked, tools=(TOOL,)),)))

    @property
    def has_reasoning_field(self) -> bool:
        """Whether the template renders a separate reasoning field of an answer."""
        if self._has_reasoning_field is None:
            self._has_reasoning_field = True
            said = Message(role="assistant", content="hafs7answer", reasoning="hafs7thought")
            asked = Message(role="user", content="hafs7question")
            self._has_reasoning_field = "hafs7thought" in self._try_write((asked, said))
        return self._has_reasoning_field

    @property
    def knows_tools(self) -> bool:
        """Whether the template renders tools, tool calls and tool results; the probe also finds their format."""
        if self._knows_tools is None:
            self._knows_tools = self._find_format()
        return self._knows_tools

    @property
    def form(self) -> MessageFormat:
        """How the template expects tool calls; known once `knows_tools` was asked."""
        return self._format

    def _find_format(self) -> bool:
        asked = Message(role="user", content="hafs7question", tools=(TOOL,))
        if "hafs7tool" not in self._try_write((asked,)):
            return False
        call = Call(name="hafs7tool", arguments={"hafs7key": "hafs7value"}, id="call_hafs7call")
        calling = Message(role="assistant", content="", calls=(call,))
        result = Message(role="tool", content="hafs7result", name="hafs7tool", call_id="call_hafs7call")
        for form in MESSAGE_FORMATS:
            text = self._try_write((asked, calling, result), True, form).partition("hafs7question")[2]
            plain = "{'hafs7key" not in text and '\\"hafs7key' not in text
            if plain and all(mark in text for mark in ("hafs7key", "hafs7value", "hafs7tool", "hafs7result")):
                self._format = form
                return True
        return False

    def _try_write(
        self, conversation: Conversation, generation: bool = False, form: MessageFormat | None = None
    ) -> str:
        try:
            return self._in_format(conversation, generation, form or self._format)
        except Exception:  # see `_write`
            return ""

    def with_prompted_tools(self, conversation: Conversation) -> Conversation:
        """The conversation; if the template does not support tools, with tools and tool calls as text."""
        if not conversation or not (conversation[0].tools or any(message.calls for message in conversation)):
            return conversation
        return conversation if self.knows_tools else prompt_tools(conversation, leads=self.shows_system)

    @property
    def shows_system(self) -> bool:
        """Whether the template renders a system message."""
        if self._shows_system is None:
            asked = (Message(role="system", content="hafs7system"), Message(role="user", content="hafs7question"))
            self._shows_system = "hafs7system" in self._try_write(asked)
        return self._shows_system

    def runs(self, text: str) -> list[tuple[str, bool]]:
        """Split a text into runs that are tokenized separately; True marks runs without control tokens."""
        if not self._letter_pattern.search(text):
            return [(text, False)]
        runs: list[tuple[str, bool]] = []
        place = 0
        for border in [*(found.span() for found in self.control_pattern.finditer(text)), (len(text), len(text))]:
            for start, stop in ((place, border[0]), border):
                self._add_run(runs, text[start:stop])
            place = border[1]
        return runs

    def _add_run(self, runs: list[tuple[str, bool]], text: str) -> None:
        spelled = self._letter_pattern.sub(lambda found: self._texts[found.group()], text)
        if spelled != text:
            runs.append((spelled, True))
        elif text and runs and not runs[-1][1]:
            runs[-1] = (runs[-1][0] + text, False)
        elif text:
            runs.append((text, False))


def _looks_for(template: str) -> Sequence[str] | None:
    """Strings that the template searches for in messages; None if it may transform messages that have none of them."""
    if _CUTS.search(template) or any(not _NO_CONTENT.search(found) for found in _CASE.findall(template)):
        return None
    found = [one or other for one, other in (*_METHOD.findall(template), *_REPLACES.findall(template))]
    found += [one or other for one, other, where in _WITHIN.findall(template) if not _NO_TEXT.match(where)]
    if "" in found:
        return None
    return tuple(dict.fromkeys(each for part in found for each in (part, _unescaped(part))))


def _unescaped(literal: str) -> str:
    return literal.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\\\\", "\\")


def _as_parts(content: Any) -> Any:
    return content if content is None else [{"type": "text", "text": content}]
