"""Grammars of answers in llguidance's Lark dialect: tool calls as the model writes them, and JSON of a schema."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from hafs.chat import CallFrame, CallSyntax
from hafs.chat.call_frame import NUMBER
from hafs.chat.call_parser import ID
from hafs.chat.prompted_tools import HEAD
from hafs.providers.prompted_tools import closed

_ANY_TEXT = r"/(?s:.*)/"
_ONE_LINE = (", ", ": ")  # a weak model may write white space without end
_MARKS = {ID: "/[A-Za-z0-9]{9}/", NUMBER: "/[0-9]+/"}


class AnswerGrammar:
    """Builds the grammar of one answer.

    Args:
        tokens: The tokenizer's added tokens and their ids: literal text is written with them, as in training.
    """

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self._tokens = tokens
        parts = [*sorted(tokens, key=len, reverse=True), *_MARKS]
        self._pattern = re.compile(f"({'|'.join(map(re.escape, parts))})")
        self._rules: list[str] = []

    def json_only(self, schema: Mapping[str, Any]) -> str:
        """An answer that is JSON of a schema."""
        return self._text([self._json("answer", closed(schema), _ONE_LINE)])

    def calls(
        self, tools: Sequence[Mapping[str, Any]], syntax: CallSyntax, frame: CallFrame, *,
        several: bool, text_rule: str | None = None,
    ) -> str:  # fmt: skip
        """An answer that calls tools.

        Args:
            tools: The tools that may be called.
            syntax: The model's syntax of calls.
            frame: The literal text around its calls.
            several: Whether the answer may call more than once.
            text_rule: A rule for answers without calls, from `text_rule`; None: the answer must call.
        """
        options = [self._call(place, tool["function"], syntax, frame) for place, tool in enumerate(tools)]
        self._rules.append(f"call: {' | '.join(options)}")
        again = f" ({self._literal(frame.joint)} call)*" if several and frame.joint is not None else ""
        calls = f"{self._literal(frame.start)} call{again} {self._literal(frame.closing)}"
        return self._text([calls, *([text_rule] if text_rule else [])])

    def text_rule(self, schema: Mapping[str, Any] | None, *, headed: bool) -> str:
        """An answer without calls: text, or JSON of a schema; `headed` if prompted tools mark it."""
        answer = _ANY_TEXT if schema is None else self._json("answer", closed(schema), _ONE_LINE)
        return f"{self._literal(HEAD)} {answer}" if headed else answer

    def _text(self, starts: Sequence[str]) -> str:
        return "\n".join([f"start: {' | '.join(starts)}", *self._rules]) + "\n"

    def _call(self, place: int, function: Mapping[str, Any], syntax: CallSyntax, frame: CallFrame) -> str:
        schema = closed(function.get("parameters") or {"type": "object", "properties": {}})
        if syntax.family == "tagged":
            return self._tagged(place, function["name"], schema, syntax, frame)
        arguments = self._json(f"arguments_{place}", {"type": "object"} | schema, frame.separators)
        return f"{self._literal(function['name'] + frame.middle)} {arguments}"

    def _tagged(self, place: int, name: str, schema: Mapping[str, Any], syntax: CallSyntax, frame: CallFrame) -> str:
        """Arguments in tags: first the required ones, then the optional ones that are there."""
        needed = set(schema.get("required") or ())
        named = sorted((schema.get("properties") or {}).items(), key=lambda pair: pair[0] not in needed)
        mark = _mark(syntax)
        following, end = (self._literal(each.removeprefix(mark)) for each in (syntax.next_argument, syntax.end))
        starts: list[str] = []
        later = ""
        for number, (key, inner) in reversed(list(enumerate(named))):
            said = f"{self._literal(key + syntax.between)} {self._value(f'value_{place}_{number}', inner, mark)}"
            starts = [f"{said} {later}"] + (starts if key not in needed else [])
            again = f"{following} {said}"
            later = f"{again} {later}" if key in needed else f"({again})? {later}"
        options = [f"{self._literal(name + frame.middle)} ({' | '.join(starts)}) {end}"] if starts else []
        if not needed:
            options.append(self._literal(name + syntax.empty))
        return f"({' | '.join(options)})"

    def _value(self, rule: str, schema: Mapping[str, Any], mark: str) -> str:
        """A value in tags with the mark after it: strings as they are, up to that mark; all others as JSON."""
        options = schema.get("enum")
        if options and all(isinstance(each, str) for each in options):
            return f"({' | '.join(map(self._literal, options))}) {self._literal(mark)}"
        if schema.get("type") != "string":
            return f"{self._json(rule, schema, _ONE_LINE)} {self._literal(mark)}"
        before, *rest = self._pattern.split(mark, maxsplit=1)
        if not rest:
            self._rules.append(f"{rule}[suffix={json.dumps(mark)}]: {_ANY_TEXT}")
            return rule
        self._rules.append(f"{rule.upper()}: /(?s:.*){before.encode('unicode_escape').decode()}/")
        return f"{rule.upper()} {self._literal(''.join(rest))}"

    def _json(self, rule: str, schema: Mapping[str, Any], separators: tuple[str, str] | None) -> str:
        """Add a rule for JSON of a schema; parts of it that llguidance cannot enforce are ignored."""
        options: dict[str, Any] = {"lenient": True}
        if separators:
            item, key = separators
            options |= {"whitespace_flexible": False, "item_separator": item, "key_separator": key}
        self._rules.append(f"{rule}: %json {json.dumps({**schema, 'x-guidance': options})}")
        return rule

    def _literal(self, text: str) -> str:
        return " ".join(self._pieces(text)) or '""'

    def _pieces(self, text: str) -> Iterator[str]:
        for piece in self._pattern.split(text):
            if piece in self._tokens:
                yield f"<[{self._tokens[piece]}]>"
            elif piece:
                yield _MARKS.get(piece) or json.dumps(piece, ensure_ascii=False)


def _mark(syntax: CallSyntax) -> str:
    """What follows every value in tags, whether another argument comes or not."""
    pairs = zip(syntax.next_argument, syntax.end, strict=False)
    alike = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike[: alike.rfind(">") + 1]
