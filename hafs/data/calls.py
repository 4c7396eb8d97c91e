"""Tools and calls of tools as rows write them, in whichever of their forms, read as values."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hafs.chat import Call
from hafs.data.decode import Unusable

_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
_WRITTEN = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)  # Hermes' form of a call in text


def tools_of(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row, in OpenAI's form: `tools` or `functions`, as a list or as its JSON text.

    Raises:
        Unusable: They are neither, or one of them has no name.
    """
    for key in ("tools", "functions"):
        if row.get(key) in (None, "", [], {}):
            continue
        value = _parsed(row[key], key) if isinstance(row[key], str) else row[key]
        listed = value if isinstance(value, list) else [value]
        return tuple(_tool(each, f"{key!r} entry {place}") for place, each in enumerate(listed, 1))
    return ()


def _tool(value: Any, where: str) -> Mapping[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Unusable("wrong_type", f"{where} is no function with a name")
    parameters = function.get("parameters")
    if isinstance(parameters, dict) and not isinstance(parameters.get("properties"), dict) and "type" not in parameters:
        function = function | {"parameters": _schema(parameters)}  # APIGen's: a description for each argument
    return {"type": "function", "function": function}


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
    """The calls that an answer makes: `tool_calls`, or OpenAI's older `function_call`.

    Raises:
        Unusable: One of them has no name, or arguments that are no object.
    """
    if turn.get("tool_calls"):
        listed = turn["tool_calls"]
        listed = _parsed(listed, f"{where}: 'tool_calls'") if isinstance(listed, str) else listed
        if not isinstance(listed, list):
            raise Unusable("wrong_type", f"{where} has 'tool_calls' of type {type(listed).__name__}, expected a list")
        return tuple(call_of(each, where) for each in listed)
    return (call_of(turn["function_call"], where),) if turn.get("function_call") else ()


def call_of(value: Any, where: str) -> Call:
    """One call, in OpenAI's form or as a name and arguments alone; arguments may be JSON text.

    Raises:
        Unusable: It has no name, or arguments that are no object.
    """
    value = _parsed(value, f"{where}: a call") if isinstance(value, str) else value
    function = value.get("function", value) if isinstance(value, dict) else {}
    function = {"name": function} if isinstance(function, str) else function
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise Unusable("bad_call", f"{where} has a call without a name")
    arguments = next((function[key] for key in ("arguments", "parameters", "args") if key in function), None)
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{where}: the arguments of {name!r}") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise Unusable("bad_call", f"{where}: the arguments of {name!r} are {type(arguments).__name__}, no object")
    identity = value.get("id")
    return Call(name=name, arguments=arguments, id=str(identity) if identity is not None else None)


def written_calls(text: str, where: str) -> tuple[tuple[Call, ...], str]:
    """Calls that an answer writes between `<tool_call>` tags, and the text without them."""
    found = _WRITTEN.findall(text)
    return tuple(call_of(each, where) for each in found), _WRITTEN.sub("", text).strip() if found else text


def looks_like_calls(text: str) -> list[Any] | None:
    """The calls that a turn of role function_call is in JSON; None where it is text."""
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
        raise Unusable("bad_call", f"{what} is no JSON: {error}") from error
