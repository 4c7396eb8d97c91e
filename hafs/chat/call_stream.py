"""Reads tool calls from an answer while it is generated: text and parts of calls can be passed on as they come.

A part is passed on once it cannot become anything else. What the stream cannot decide early, it decides at the end,
from the complete answer (`call_parser.parse`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hafs.chat.call_parser import PROMPTED, CallSyntax, head_pattern, parse, tagged_call
from hafs.chat.prompted_tools import HEAD


class CallPart(NamedTuple):
    """A part of a call: its name, or a piece of its arguments as JSON."""

    index: int
    name: str | None
    arguments: str


class CallStream:
    """The text and the calls of one growing answer.

    Args:
        syntax: How the model writes calls.
        tools: In OpenAI's format.
        several: Whether calls after the first are read.
    """

    def __init__(self, syntax: CallSyntax, tools: Sequence[Mapping[str, Any]], *, several: bool = True) -> None:
        self.syntax, self.tools, self.several = syntax, tools, several
        self.text = ""
        self.calls = 0
        """Calls that have begun."""
        self._schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
        self._head = head_pattern(syntax, self._schemas)
        self._told = 0  # characters of the answer that are passed on or skipped
        self._value: _JsonEnd | None = None  # the arguments that are being read
        self._words = False

    def feed(self, piece: str, *, over: bool = False) -> list[str | CallPart]:
        """The further text and parts of calls; `over` with the last piece."""
        self.text += piece
        told: list[str | CallPart] = []
        while (part := self._next(over)) is not None:
            told.append(part)
        return [part for part in told if part != ""] + (self._rest() if over else [])

    def _next(self, over: bool) -> str | CallPart | None:
        if self._value is not None:
            return self._arguments()
        if self.calls and not self.several:
            return None
        if (
            self.syntax == PROMPTED
            and not self.calls
            and not self._words
            and (words := self._words_start()) is not None
        ):
            if words < 0:
                return None
            self._told, self._words = words, True
        if self._words:
            return self._pass(len(self.text))
        found = self._head.search(self.text, self._told)
        if found:
            return self._begin(found)
        return None if self.calls else self._pass(self._safe(over))

    def _words_start(self) -> int | None:
        """Where the text of a headed answer starts; -1: not clear yet; None: it has no such head."""
        head, said = HEAD.strip(), self.text.lstrip()
        if not said.startswith(head):
            return -1 if head.startswith(said) else None
        rest = said[len(head) :]
        return len(self.text) - len(rest.lstrip("\n")) if rest.strip("\n") else -1

    def _begin(self, found: re.Match[str]) -> str | CallPart | None:
        before = "" if self.calls else self.text[self._told : found.start()].removesuffix(self.syntax.before)
        if before.strip():  # the text before the call comes first
            self._told = found.start()
            return before.strip()
        if self.syntax.family == "tagged":
            arguments, end = tagged_call(self.text, found, self.syntax, self._schemas)
            if end < 0:
                return None
            text, self._told = json.dumps(arguments, ensure_ascii=False), end
        else:
            text, self._told, self._value = "", found.end(), _JsonEnd()
        self.calls += 1
        return CallPart(self.calls - 1, found["name"], text)

    def _arguments(self) -> CallPart | None:
        assert self._value is not None
        end, closed = self._value.scan(self.text, self._told)
        piece, self._told = self.text[self._told : end], end
        if closed:
            self._value = None
        return CallPart(self.calls - 1, None, piece) if piece else None

    def _pass(self, until: int) -> str | None:
        """Text up to a place, without the white space before it."""
        piece = self.text[self._told : until].rstrip()
        if not piece:
            return None
        self._told += len(piece)
        return piece

    def _safe(self, over: bool) -> int:
        """Up to where the text can be no part of a call."""
        mark = self.syntax.before.strip() or ("{" if self.syntax.family == "object" else "")
        if over:
            return self._told  # the end is read as a whole
        place = self.text.find(mark, self._told) if mark else -1
        while place >= 0 and mark == "{" and not self._may_begin(place):
            place = self.text.find(mark, place + 1)
        if place >= 0:
            return place
        longest = next((n for n in range(len(mark), 0, -1) if self.text.endswith(mark[:n])), 0)
        return len(self.text) - longest

    def _may_begin(self, place: int) -> bool:
        """Whether an object at `place` may still become a call."""
        pieces = ["{", f'"{self.syntax.name_key}"', ":", *(f'"{name}"' for name in self._schemas)]
        rest = self.text[place:]
        for options in ([pieces[0]], [pieces[1]], [pieces[2]], pieces[3:], [","], [f'"{self.syntax.arguments_key}"']):
            rest = rest.lstrip()
            fits = next((each for each in options if rest.startswith(each)), None)
            if fits is None:
                return any(each.startswith(rest) for each in options)
            rest = rest[len(fits) :]
        return True

    def _rest(self) -> list[str | CallPart]:
        """The parts that only the complete answer decides."""
        whole = parse(self.text, self.syntax, self.tools)
        calls = whole.calls if self.several else whole.calls[:1]
        late = [
            CallPart(place, call.name, json.dumps(call.arguments, ensure_ascii=False))
            for place, call in enumerate(calls) if place >= self.calls
        ]  # fmt: skip
        if self._words or (self._told and not calls and not self.calls):
            text = self.text[self._told :]
        else:
            text = "" if self._told or self.calls else whole.text
        self.calls = max(self.calls, len(calls))
        return [*([text] if text else []), *late]


class _JsonEnd:
    """Finds the end of a JSON object in a growing text."""

    def __init__(self) -> None:
        self._depth, self._quoted, self._escaped = 0, False, False

    def scan(self, text: str, place: int) -> tuple[int, bool]:
        """Read on from `place`; the end that was reached, and whether the object ends there."""
        for at in range(place, len(text)):
            sign = text[at]
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped, self._quoted = sign == "\\", sign != '"'
            elif sign == '"':
                self._quoted = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if not self._depth:
                    return at + 1, True
        return len(text), False
