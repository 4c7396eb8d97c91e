"""A tokenizer's chat template: what it writes, which of that is control tokens, and what it looks for in messages."""

import re
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hafs.chat.messages import Call, Conversation, Message
from hafs.chat.rows import FORMS, TOOL, Form, numbered, row_of, spelled
from hafs.chat.told import told
from hafs.core.errors import HafsError

_CHANGES = re.compile(
    r"\.\s*(lower|upper|title|format|replace)\s*\(|\|\s*(lower|upper|title|capitalize|replace|indent)\b"
    r"|\bcontent\s*\[\s*[-:\d]"
)
_METHOD = re.compile(r"\.\s*(?:l?r?split|startswith|endswith|partition|count|find)\s*\(\s*(?:'([^']*)'|\"([^\"]*)\")")
_WITHIN = re.compile(r"(?:'([^'\n]*)'|\"([^\"\n]*)\")\s+(?:not\s+)?in\s+([\w.]+(?:\[[^\]]*\])*(?:\.\w+)*)")
_NO_TEXT = re.compile(r"^(?:message|messages\[[^\]]*\]|msg|m|item|tool\w*|loop\.\w+|function|call|param\w*|\w*_block)$")
_LETTERS = 0x100000  # private-use characters from here on stand for a control token's letters in a message

_REMEMBERED = 64  # texts; to cut one conversation asks for the same ones several times


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """The tokenizer's special tokens and their ids."""
    added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | {text: tokenizer.convert_tokens_to_ids(text) for text in tokenizer.all_special_tokens}


class Template:
    """The template of one tokenizer, which it refers to weakly.

    Attributes:
        control: The control tokens and their ids.
        control_pattern: Matches any of them, the longest first.
        looks_for: What the template looks for in messages; where none of it occurs, messages are put down as they are.
            None: it changes what it is given in ways of its own.
        write: The text of a conversation, or of a prompt where the second argument asks for the next answer.
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
        self._typed: bool | None = None
        self._thinks: bool | None = None
        self._form = Form()
        self._knows_tools: bool | None = None
        self._shows_system: bool | None = None
        self.write = lru_cache(_REMEMBERED)(self._write)

    def literal_for(self, conversation: Conversation) -> bool:
        """Whether the messages hold nothing that the template looks for."""
        if self.looks_for is None:
            return False
        for message in conversation:
            content = message.content
            if message.calls or message.tools or message.reasoning or message.name or message.call_id:
                return False
            if not content or "<think>" in content or any(part in content for part in self.looks_for):
                return False
        return True

    def _write(self, conversation: Conversation, generation: bool = False) -> str:
        """The text of a conversation, or of a prompt where `generation` asks for the next answer.

        A control token that a message spells is one private-use character in it; `pieces` gives the letters back.

        Raises:
            HafsError: The template refuses the conversation.
        """
        try:
            return self._in_form(numbered(conversation), generation, self._form)
        except Exception as error:  # templates raise what they like: jinja2's errors, ValueError, TypeError
            roles = ", ".join(message.role for message in conversation)
            hint = "reorder the roles, or choose a model whose chat template takes them"
            raise HafsError(f"the chat template refuses a conversation of ({roles}): {error}", hint=hint) from error

    def _in_form(self, conversation: Conversation, generation: bool, form: Form) -> str:
        thinks = not any(message.reasoning or "<think>" in message.content for message in conversation) or self.thinks
        messages = [row_of(message, form, thinks=thinks, letters=self._letters_of) for message in conversation]
        if self.typed:
            messages = [row | {"content": _typed(row["content"])} for row in messages]
        tools = [spelled(tool, self._letters_of) for tool in conversation[0].tools] if conversation else []
        return self.tokenizer.apply_chat_template(
            messages, tools=tools or None, tokenize=False, add_generation_prompt=generation
        )

    def _letters_of(self, text: str) -> str:
        if self._letter_pattern.search(text):
            code = ord(self._letter_pattern.findall(text)[0])
            raise HafsError(f"a message holds the private-use character U+{code:X}", hint="remove it")
        return self.control_pattern.sub(lambda found: self._letters[found.group()], text)

    @property
    def typed(self) -> bool:
        """Whether the template reads lists of parts only, and leaves out a message that is a plain string."""
        if self._typed is None:
            self._typed = False
            if not self._shows_a_question():
                self._typed = True
                self._typed = self._shows_a_question()
        return self._typed

    def _shows_a_question(self) -> bool:
        return "hafs7question" in self._tried((Message(role="user", content="hafs7question"),))

    @property
    def thinks(self) -> bool:
        """Whether the template has a place for what was thought before an answer."""
        if self._thinks is None:
            self._thinks = True
            said = Message(role="assistant", content="hafs7answer", reasoning="hafs7thought")
            self._thinks = "hafs7thought" in self._tried((Message(role="user", content="hafs7question"), said))
        return self._thinks

    @property
    def knows_tools(self) -> bool:
        """Whether the template shows tools, calls and results; in which form is found out on the way."""
        if self._knows_tools is None:
            self._knows_tools = self._find_form()
        return self._knows_tools

    def _find_form(self) -> bool:
        asked = Message(role="user", content="hafs7question", tools=(TOOL,))
        if "hafs7tool" not in self._tried((asked,)):
            return False
        call = Call(name="hafs7tool", arguments={"hafs7key": "hafs7value"}, id="call_hafs7call")
        calling = Message(role="assistant", content="", calls=(call,))
        result = Message(role="tool", content="hafs7result", name="hafs7tool", call_id="call_hafs7call")
        for form in FORMS:
            text = self._tried((asked, calling, result), True, form).partition("hafs7question")[2]
            plain = "{'hafs7key" not in text and '\\"hafs7key' not in text
            if plain and all(mark in text for mark in ("hafs7key", "hafs7value", "hafs7tool", "hafs7result")):
                self._form = form
                return True
        return False

    def _tried(self, conversation: Conversation, generation: bool = False, form: Form | None = None) -> str:
        try:
            return self._in_form(conversation, generation, form or self._form)
        except Exception:  # as above; empty, where the template refuses it
            return ""

    def settled(self, conversation: Conversation) -> Conversation:
        """The conversation, with tools and calls as text of it where the template knows none."""
        if not conversation or not (conversation[0].tools or any(message.calls for message in conversation)):
            return conversation
        return conversation if self.knows_tools else told(conversation, leads=self.shows_system)

    @property
    def shows_system(self) -> bool:
        """Whether the template takes a system's message."""
        if self._shows_system is None:
            asked = (Message(role="system", content="hafs7system"), Message(role="user", content="hafs7question"))
            self._shows_system = "hafs7system" in self._tried(asked)
        return self._shows_system

    def runs(self, text: str) -> list[tuple[str, bool]]:
        """A text as runs to tokenize by themselves, and whether each holds letters that are no control tokens."""
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
    if _CHANGES.search(template):
        return None
    found = [one or other for one, other in _METHOD.findall(template)]
    found += [one or other for one, other, where in _WITHIN.findall(template) if not _NO_TEXT.match(where)]
    return tuple(dict.fromkeys(part for part in found if part)) if "" not in found else None


def _typed(content: Any) -> Any:
    return content if content is None else [{"type": "text", "text": content}]
