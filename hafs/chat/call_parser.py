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
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from hafs.chat.answers import AnswerCutter
from hafs.chat.messages import Call, Message
from hafs.chat.prompted_tools import HEAD, IN_WORDS
from hafs.chat.template_messages import PROBE_ID, probe_id
from hafs.core.errors import HafsError

TOOL_NAME, KEY, VALUE, MORE, LAST = "hafs7tool", "hafs7key", "hafs7value", "hafs7more", "hafs7last"
"""Texts of probe calls."""
_HARD = {KEY: 'it\'s "quoted" \\ and\ntwo lines', MORE: 3, "list": [1, {"deep": None}], "flag": True}
_JSON = json.JSONDecoder()
ID = "\ue0f1"
"""Stands for a call's id in literal text."""
_ANY_ID = r"[\w.:-]{1,64}"


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
    empty: str = ""
    """tagged: literal text after the name of a call without arguments."""


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
        one = written_call(cutter, {KEY: VALUE})
        two = written_call(cutter, {KEY: VALUE, MORE: LAST})
        hard = written_call(cutter, _HARD)
    except HafsError:
        return None
    try:
        twice = written_call(cutter, {KEY: VALUE}, 2)
    except HafsError:
        twice = one  # some templates accept one call per answer
    tools, ids = [_tool(_HARD)], [probe_id(place, cutter.template.form) for place in range(2)]
    try:
        empty = written_call(cutter, {})
    except HafsError:
        empty = ""
    for syntax in (_object_syntax(one), _named_syntax(one, ids), _tagged_syntax(one, two, twice, empty, ids)):
        if syntax is not None and [call.arguments for call in parse(hard, syntax, tools).calls] == [_HARD]:
            return syntax
    return None


def _tool(arguments: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {str: "string", bool: "boolean", int: "integer", list: "array"}
    properties = {key: {"type": kinds[type(value)]} for key, value in arguments.items()}
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": TOOL_NAME, "description": "", "parameters": schema}}


def written_call(cutter: AnswerCutter, arguments: Mapping[str, Any], times: int = 1) -> str:
    """The completion that calls the probe tool, without its end token.

    Raises:
        HafsError: The template cannot render such an answer.
    """
    calls = [Call(name=TOOL_NAME, arguments=arguments, id=f"{PROBE_ID}{place}") for place in range(times)]
    asked = Message(role="user", content="hafs7question", tools=(_tool(arguments),))
    conversation = (asked, Message(role="assistant", content="", calls=tuple(calls)))
    return cutter.completion(conversation, 1, cutter.prompt(conversation, 1)).removesuffix(cutter.call_ending.token)


def _object_syntax(text: str) -> CallSyntax | None:
    for place, value in _objects(text):
        name = next((key for key, each in value.items() if each == TOOL_NAME), None)
        arguments = next((key for key, each in value.items() if each == {KEY: VALUE}), None)
        if name and arguments:
            return CallSyntax("object", _last_line(text[:place]), name, arguments)
    return None


def _named_syntax(text: str, ids: Sequence[str]) -> CallSyntax | None:
    place = next((place for place, value in _objects(text) if value == {KEY: VALUE}), None)
    if place is None or TOOL_NAME not in text[:place]:
        return None
    before, _, after = text[:place].rpartition(TOOL_NAME)
    return CallSyntax("named", _last_line(before), after_name=open_ids(after, ids))


def open_ids(text: str, ids: Sequence[str]) -> str:
    """A literal text whose ids of calls are replaced by a mark."""
    return re.sub("|".join(map(re.escape, ids)), ID, text)


def _tagged_syntax(one: str, two: str, twice: str, empty: str, ids: Sequence[str]) -> CallSyntax | None:
    found = re.fullmatch(rf"(.*){TOOL_NAME}(.*?){KEY}(.*?){VALUE}(.*)", one, re.DOTALL)
    more = re.search(rf"{VALUE}(.*?){MORE}", two, re.DOTALL)
    if found is None or more is None or not found[3]:
        return None
    following = twice.partition(VALUE)[2]
    end = "".join(
        left for left, _ in takewhile(lambda pair: pair[0] == pair[1], zip(found[4], following, strict=False))
    )
    end = end[: end.rfind(">") + 1] or end.rstrip()
    closing = found[4].removeprefix(end)
    return CallSyntax(
        "tagged", _last_line(found[1]), after_name=open_ids(found[2], ids), between=found[3], next_argument=more[1],
        end=end,
        empty=open_ids(empty.partition(TOOL_NAME)[2].removesuffix(closing), ids),
    )  # fmt: skip


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


def head_pattern(syntax: CallSyntax, names: Collection[str]) -> re.Pattern[str]:
    """Matches a call up to its arguments; the group `name` is the tool's name, and starts the match of a name."""
    listed = "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)"
    if syntax.family == "object":
        keys = (re.escape(json.dumps(key)) for key in (syntax.name_key, syntax.arguments_key))
        return re.compile(rf'\{{\s*{next(keys)}\s*:\s*"(?P<name>{listed})"\s*,\s*{next(keys)}\s*:\s*(?=\{{)')
    begins = f"(?<={re.escape(syntax.before[-1])})" if syntax.before else ""
    if syntax.family == "named":
        after = re.sub(r"\d+", r"\\d+", re.escape(syntax.after_name)).replace(ID, _ANY_ID)
        return re.compile(rf"{begins}(?P<name>{listed}){after}(?=\s*\{{)")
    after, none = (re.escape(text).replace(ID, _ANY_ID) for text in (syntax.after_name, syntax.empty))
    empty = f"|(?P<empty>{none})" if none else ""
    return re.compile(f"{begins}(?P<name>{listed})(?:{after}{empty})")


def _read_named(text: str, syntax: CallSyntax, schemas: Mapping[str, Any]) -> _Found:
    start, calls = 0, []
    for found in head_pattern(syntax, schemas).finditer(text):
        try:
            arguments, _ = _JSON.raw_decode(text, text.index("{", found.end()))
        except (ValueError, RecursionError):
            continue
        start = start if calls else found.start()
        calls.append(Call(name=found["name"], arguments=arguments))
    return start, calls


def _read_tagged(text: str, syntax: CallSyntax, schemas: Mapping[str, Any]) -> _Found:
    start, calls = 0, []
    for found in head_pattern(syntax, schemas).finditer(text):
        arguments, place = tagged_call(text, found, syntax, schemas)
        if place >= 0:
            start = start if calls else found.start()
            calls.append(Call(name=found["name"], arguments=arguments))
    return start, calls


def tagged_call(
    text: str, found: re.Match[str], syntax: CallSyntax, schemas: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """The arguments in tags after the head of a call, and where they end; -1 if they break off."""
    if syntax.empty and found["empty"]:
        return {}, found.end()
    return _tagged_arguments(text, found.end(), syntax, schemas[found["name"]].get("properties") or {})


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
