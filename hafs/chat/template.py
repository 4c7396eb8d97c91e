"""A tokenizer's chat template: what it writes, which of that is control tokens, and what it looks for in messages."""

import re
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hafs.chat.messages import Conversation, Message
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
        self.write = lru_cache(_REMEMBERED)(self._write)

    def literal_for(self, conversation: Conversation) -> bool:
        """Whether the messages hold nothing that the template looks for."""
        if self.looks_for is None:
            return False
        for message in conversation:
            content = message.content
            if not content or any(part in content for part in self.looks_for):
                return False
        return True

    def _write(self, conversation: Conversation, generation: bool = False) -> str:
        """The text of a conversation, or of a prompt where `generation` asks for the next answer.

        A control token that a message spells is one private-use character in it; `pieces` gives the letters back.

        Raises:
            HafsError: The template refuses the conversation.
        """
        messages = [{"role": message.role, "content": self._content(message)} for message in conversation]
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
        except Exception as error:  # templates raise what they like: jinja2's errors, ValueError, TypeError
            roles = ", ".join(message.role for message in conversation)
            hint = "reorder the roles, or choose a model whose chat template takes them"
            raise HafsError(f"the chat template refuses a conversation of ({roles}): {error}", hint=hint) from error

    def _content(self, message: Message) -> Any:
        text = message.content
        if self._letter_pattern.search(text):
            raise HafsError(f"the {message.role} message holds the private-use character "
                            f"U+{ord(self._letter_pattern.findall(text)[0]):X}", hint="remove it")  # fmt: skip
        text = self.control_pattern.sub(lambda found: self._letters[found.group()], text)
        return [{"type": "text", "text": text}] if self.typed else text

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
        asked = Message(role="user", content="hafs7question")
        try:
            return asked.content in self._write((asked,))
        except HafsError:
            return False

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
