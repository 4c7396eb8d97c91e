"""Read tools and tool calls from rows in several formats."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from hafs.chat import Call
from hafs.data.decode import UnusableRow
from hafs.data.written_tools import calls_in, tools_listed

_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}


TOOL_KEYS = ("tools", "functions", "parallel_tool_calls")
"""Keys of a row that hold its tools, or options of their calls."""
_INSIDE = (("metadata", ("tools",)), ("chat_template_kwargs", ("xml_tools", "python_tools")))
"""Objects of a row in which some datasets keep the tools (Nemotron, SmolTalk 2), and the keys inside."""


def tools_of(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row in OpenAI's format, given as a list or as JSON text.

    Raises:
        UnusableRow: The value is neither, or a tool has no name.
    """
    for key in ("tools", "functions"):
        if row.get(key) not in (None, "", [], {}):
            value = _parsed(row[key], key) if isinstance(row[key], str) else row[key]
            return tools_from(value, key)
    for key, names in _INSIDE:
        if not row.get(key):
            continue
        held = row[key]
        if isinstance(held, str) and '"tools"' in held:
            held = _parsed(held, key)
        value = next((held[name] for name in names if held.get(name)), None) if isinstance(held, dict) else None
        if key == "chat_template_kwargs" and value:
            texts = [value] if isinstance(value, str) else value
            value = [tool for each in texts for tool in (tools_listed(each) if isinstance(each, str) else [each])]
        if value:
            return tools_from(_parsed(value, key) if isinstance(value, str) else value, key)
    return ()


def tool_keys(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a row that its tools are read from."""
    inside = [key for key, _ in _INSIDE if row.get(key) and tools_of({key: row[key]})]
    held = row.get("chat_template_kwargs")
    if isinstance(held, dict) and held.get("custom_instructions"):
        inside.append("chat_template_kwargs")
    return (*TOOL_KEYS, *inside)


def tools_from(value: Any, key: str) -> tuple[Mapping[str, Any], ...]:
    """A tool or a list of tools, each an object or JSON text, in OpenAI's format.

    Raises:
        UnusableRow: A tool has no name.
    """
    listed = value if isinstance(value, list) else [value]
    parsed = [_parsed(each, key) if isinstance(each, str) else each for each in listed]
    return tuple(_tool(each, f"{key!r} entry {place}") for place, each in enumerate(parsed, 1))


def _tool(value: Any, where: str) -> Mapping[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise UnusableRow("wrong_type", f"{where} is not a function with a name")
    parameters = function.get("parameters")
    if isinstance(parameters, dict) and not isinstance(parameters.get("properties"), dict) and "type" not in parameters:
        function = function | {"parameters": _schema(parameters)}  # APIGen's: a description for each argument
    elif isinstance(parameters, dict):
        function = function | {"parameters": _typed(parameters)}
    return {"type": "function", "function": function}


def _typed(schema: Any) -> Any:
    """A schema whose types are JSON's: ToolACE writes Python's (`dict`, `float`, `list`)."""
    if isinstance(schema, list):
        return [_typed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _typed(each) if isinstance(each, dict | list) else each for key, each in schema.items()}
    kind = schema.get("type")
    return inner | {"type": _TYPES[kind]} if isinstance(kind, str) and kind in _TYPES else inner


def _schema(parameters: dict[str, Any]) -> dict[str, Any]:
    properties, required = {}, []
    for name, described in parameters.items():
        said = described if isinstance(described, dict) else {"description": str(described)}
        kind, _, rest = str(said.get("type", "str")).partition(",")
        base = re.split(r"[\[(]", kind.strip())[0].lower()
        properties[name] = said | {"type": _TYPES.get(base, base if base in _TYPES.values() else "string")}
        if "optional" not in rest and "default" not in said:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def calls_of(turn: Mapping[str, Any], where: str) -> tuple[Call, ...]:
    """The tool calls of an answer, from `tool_calls` or OpenAI's older `function_call`.

    Raises:
        UnusableRow: A call has no name, or its arguments are not an object.
    """
    if turn.get("tool_calls"):
        listed = turn["tool_calls"]
        listed = _parsed(listed, f"{where}: 'tool_calls'") if isinstance(listed, str) else listed
        if not isinstance(listed, list):
            raise UnusableRow(
                "wrong_type", f"{where} has 'tool_calls' of type {type(listed).__name__}, expected a list"
            )
        return tuple(call_of(each, where) for each in listed)
    return (call_of(turn["function_call"], where),) if turn.get("function_call") else ()


def call_of(value: Any, where: str) -> Call:
    """One tool call, in OpenAI's format or as name and arguments; the arguments may be JSON text.

    Raises:
        UnusableRow: The call has no name, or its arguments are not an object.
    """
    value = _parsed(value, f"{where}: a call") if isinstance(value, str) else value
    function = value.get("function", value) if isinstance(value, dict) else {}
    function = {"name": function} if isinstance(function, str) else function
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise UnusableRow("bad_call", f"{where} has a call without a name")
    arguments = next((function[key] for key in ("arguments", "parameters", "args") if key in function), None)
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{where}: the arguments of {name!r}") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise UnusableRow(
            "bad_call", f"{where}: the arguments of {name!r} are {type(arguments).__name__}, expected an object"
        )
    identity = value.get("id")
    return Call(name=name, arguments=arguments, id=str(identity) if identity is not None else None)


def written_calls(text: str, names: Collection[str], where: str) -> tuple[tuple[Call, ...], str]:
    """Calls that an answer writes as text, in any of the forms of `written_tools`, and the text without them."""
    found = calls_in(text, names)
    return tuple(call_of(each, where) for each in found.calls), found.text


def looks_like_calls(text: str) -> list[Any] | None:
    """The JSON calls of a turn with role function_call; None if the turn is plain text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    listed = value if isinstance(value, list) else [value]
    fits = all(isinstance(each, dict) and ("name" in each or "function" in each) for each in listed)
    return listed if listed and fits else None


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableRow("bad_call", f"{what} is not JSON: {error}") from error
