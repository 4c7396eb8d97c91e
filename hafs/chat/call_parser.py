"""Parse tool calls from generated text.

Chat templates write tool calls in dozens of syntaxes. The parser renders a probe call with the template, finds the
probe's name and arguments in the text, and derives one of three families:

    object      a JSON object that holds name and arguments, whatever surrounds it (Qwen 2.5, Llama 3, Hermes, Mistral)
    named       a name, literal text, then the arguments as a JSON object (gpt-oss, Kimi, Mistral 3, DeepSeek)
    tagged      a name, then each argument between tags (Qwen3-Coder, GLM)

It then parses a second probe with difficult values. If the result differs, the syntax counts as unknown.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from hafs.chat.answers import AnswerCutter
from hafs.chat.messages import Call, Message
from hafs.chat.prompted_tools import HEAD, IN_WORDS
from hafs.core.errors import HafsError

_TOOL, _KEY, _VALUE, _MORE, _LAST = "hafs7tool", "hafs7key", "hafs7value", "hafs7more", "hafs7last"
_HARD = {_KEY: 'it\'s "quoted" \\ and\ntwo lines', _MORE: 3, "list": [1, {"deep": None}], "flag": True}
_JSON = json.JSONDecoder()


class CallSyntax(NamedTuple):
    """How a model writes a tool call."""

    family: Literal["object", "named", "tagged"]
    before: str
    """Literal text before the object, or before the name."""
    name_key: str = "name"
    arguments_key: str = "arguments"
    after_name: str = ""
    """named and tagged: literal text between the name and the arguments."""
    between: str = ""
    """tagged: literal text between an argument's key and its value."""
    next_argument: str = ""
    """tagged: literal text between a value and the next key."""
    end: str = ""
    """tagged: literal text after the last value."""


PROMPTED = CallSyntax("object", "")
"""The syntax of prompted tools."""


class ParsedAnswer(NamedTuple):
    """A generated answer: its text without tool calls, and the calls."""

    text: str
    calls: list[Call]


def find_syntax(cutter: AnswerCutter) -> CallSyntax | None:
    """The syntax in which the template writes tool calls; None if the parser does not understand it."""
    if not cutter.template.knows_tools:
        return PROMPTED
    try:
        one = _written(cutter, {_KEY: _VALUE})
        two = _written(cutter, {_KEY: _VALUE, _MORE: _LAST})
        hard = _written(cutter, _HARD)
    except HafsError:
        return None
    try:
        twice = _written(cutter, {_KEY: _VALUE}, 2)
    except HafsError:
        twice = one  # some templates accept one call per answer
    tools = [_tool(_HARD)]
    for syntax in (_object_syntax(one), _named_syntax(one), _tagged_syntax(one, two, twice)):
        if syntax is not None and [call.arguments for call in parse(hard, syntax, tools).calls] == [_HARD]:
            return syntax
    return None


def _tool(arguments: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {str: "string", bool: "boolean", int: "integer", list: "array"}
    properties = {key: {"type": kinds[type(value)]} for key, value in arguments.items()}
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": _TOOL, "description": "", "parameters": schema}}


def _written(cutter: AnswerCutter, arguments: Mapping[str, Any], times: int = 1) -> str:
    """The completion that calls the probe tool, without its end token."""
    calls = [Call(name=_TOOL, arguments=arguments, id=f"call_hafs7call{place}") for place in range(times)]
    asked = Message(role="user", content="hafs7question", tools=(_tool(arguments),))
    conversation = (asked, Message(role="assistant", content="", calls=tuple(calls)))
    return cutter.completion(conversation, 1, cutter.prompt(conversation, 1)).removesuffix(cutter.call_ending.token)


def _object_syntax(text: str) -> CallSyntax | None:
    for place, value in _objects(text):
        name = next((key for key, each in value.items() if each == _TOOL), None)
        arguments = next((key for key, each in value.items() if each == {_KEY: _VALUE}), None)
        if name and arguments:
            return CallSyntax("object", _last_line(text[:place]), name, arguments)
    return None


def _named_syntax(text: str) -> CallSyntax | None:
    place = next((place for place, value in _objects(text) if value == {_KEY: _VALUE}), None)
    if place is None or _TOOL not in text[:place]:
        return None
    before, _, after = text[:place].rpartition(_TOOL)
    return CallSyntax("named", _last_line(before), after_name=after)


def _tagged_syntax(one: str, two: str, twice: str) -> CallSyntax | None:
    found = re.fullmatch(rf"(.*){_TOOL}(.*?){_KEY}(.*?){_VALUE}(.*)", one, re.DOTALL)
    more = re.search(rf"{_VALUE}(.*?){_MORE}", two, re.DOTALL)
    if found is None or more is None or not found[3]:
        return None
    following = twice.partition(_VALUE)[2]
    end = "".join(
        left for left, _ in takewhile(lambda pair: pair[0] == pair[1], zip(found[4], following, strict=False))
    )
    end = end[: end.rfind(">") + 1] or end.rstrip()
    return CallSyntax(
        "tagged", _last_line(found[1]), after_name=found[2], between=found[3], next_argument=more[1], end=end
    )


def _last_line(text: str) -> str:
    """The literal text directly before a call, without the reasoning or blank lines before it."""
    lines = text.rstrip("\n").rpartition("\n\n")[2]
    return lines + text[len(text.rstrip("\n")) :]


def _objects(text: str) -> list[tuple[int, dict[str, Any]]]:
    """The outermost JSON objects in a text, with their places."""
    found: list[tuple[int, dict[str, Any]]] = []
    place = text.find("{")
    while place >= 0:
        try:
            value, end = _JSON.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            if isinstance(value, dict):
                found.append((place, value))
        place = text.find("{", end)
    return found


def parse(text: str, syntax: CallSyntax, tools: Sequence[Mapping[str, Any]]) -> ParsedAnswer:
    """Split a generated answer into text and tool calls.

    Args:
        text: The answer, with control tokens as text.
        syntax: The model's syntax.
        tools: In OpenAI's format; calls of other tools are not recognized.
    """
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    if syntax == PROMPTED and text.lstrip().startswith(HEAD.strip()):
        return ParsedAnswer(text.lstrip()[len(HEAD.strip()) :].lstrip("\n"), [])
    read = {"object": _read_objects, "named": _read_named, "tagged": _read_tagged}[syntax.family]
    start, calls = read(text, syntax, schemas)
    if not calls:
        return ParsedAnswer(text, [])
    return ParsedAnswer(text[:start].removesuffix(syntax.before).strip(), calls)


_Found = tuple[int, list[Call]]


def _read_objects(text: str, syntax: CallSyntax, schemas: Mapping[str, Any]) -> _Found:
    start, calls = 0, []
    for place, value in _objects(text):
        name, arguments = value.get(syntax.name_key), value.get(syntax.arguments_key)
        if isinstance(name, str) and name in schemas and name != IN_WORDS and isinstance(arguments, dict):
            start = start if calls else place
            calls.append(Call(name=name, arguments=arguments))
    return start, calls


def _read_named(text: str, syntax: CallSyntax, schemas: Mapping[str, Any]) -> _Found:
    names = "|".join(map(re.escape, sorted(schemas, key=len, reverse=True)))
    after = re.sub(r"\d+", r"\\d+", re.escape(syntax.after_name))
    start, calls = 0, []
    for found in re.finditer(f"{re.escape(syntax.before[-1:])}({names}){after}(?=\\s*{{)", text):
        try:
            arguments, _ = _JSON.raw_decode(text, text.index("{", found.end()))
        except (ValueError, RecursionError):
            continue
        start = start if calls else found.start(1)
        calls.append(Call(name=found[1], arguments=arguments))
    return start, calls


def _read_tagged(text: str, syntax: CallSyntax, schemas: Mapping[str, Any]) -> _Found:
    names = "|".join(map(re.escape, sorted(schemas, key=len, reverse=True)))
    start, calls = 0, []
    for found in re.finditer(f"{re.escape(syntax.before[-1:])}({names}){re.escape(syntax.after_name)}", text):
        properties = schemas[found[1]].get("properties") or {}
        arguments, place = _tagged_arguments(text, found.end(), syntax, properties)
        if place >= 0:
            start = start if calls else found.start(1)
            calls.append(Call(name=found[1], arguments=arguments))
    return start, calls


def _tagged_arguments(text: str, place: int, syntax: CallSyntax, properties: Mapping[str, Any]) -> tuple[Any, int]:
    """Arguments from `place` on, and where they end; -1 if they break off."""
    arguments: dict[str, Any] = {}
    while True:
        middle = text.find(syntax.between, place)
        if middle < 0:
            return arguments, -1
        key, value_at = text[place:middle], middle + len(syntax.between)
        ends = [
            (at, mark) for mark in (syntax.next_argument, syntax.end) if mark and (at := text.find(mark, value_at)) >= 0
        ]
        if not ends:
            return arguments, -1
        end, mark = min(ends)
        arguments[key] = _typed(text[value_at:end], (properties.get(key) or {}).get("type"))
        place = end + len(mark)
        if mark == syntax.end:
            return arguments, place


def _typed(text: str, kind: Any) -> Any:
    if kind == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
