"""Tools and calls that published datasets write into texts: ToolACE, glaive, ToolBench, Nemotron and Hermes.

    Hermes      <tool_call>{"name": ..., "arguments": {...}}</tool_call>      tools in <tools> tags or a key of the row
    Nemotron    <TOOLCALL>[{"name": ..., "arguments": {...}}]</TOOLCALL>      tools in <AVAILABLE_TOOLS> tags
    glaive      <functioncall> {"name": ..., "arguments": '{...}'}            tools after "the following functions"
    ToolACE     [get_room(room=12), list_rooms()]                             tools after "a list of functions in JSON"
    ToolBench   Thought: ...  Action: get_room  Action Input: {...}           tools after "the following APIs"

The model gets tools and calls as its chat template writes them, so they are taken out of the texts.
"""

import ast
import json
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

_JSON = json.JSONDecoder()
_LISTS = (
    (re.compile(r"\s*<AVAILABLE_TOOLS>\s*"), re.compile(r"\s*</AVAILABLE_TOOLS>")),
    (re.compile(r"\s*<tools>\s*"), re.compile(r"\s*</tools>")),
    (
        re.compile(r"\s*Here is a list of functions in JSON format that you can invoke:\s*"),
        re.compile(r".*", re.DOTALL),
    ),
    (re.compile(r"\s*with access to the following functions\.[^{\[]*"), re.compile(r"\s*")),
    (re.compile(r"\s*(?:Specifically, )?you have access to the following APIs:\s*"), re.compile(r"\s*")),
)
_HINTS = ("_TOOLS>", "<tools>", "functions", "APIs:")
_TAGS = re.compile(r"<(tool_call|TOOLCALL)>\s*(.*?)\s*</\1>", re.DOTALL)
_RESULTS = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)
_GLAIVE = re.compile(r"<functioncall>\s*(\{.*\})\s*(?:<\|endoftext\|>)?\s*$", re.DOTALL)
_GLAIVE_ARGUMENTS = re.compile(r"""("arguments"\s*:\s*)'(.*)'\s*\}\s*$""", re.DOTALL)
_REACT = re.compile(r"(?:Thought:\s*(.*?)\s*)?Action:\s*(.+?)\s*\nAction Input:\s*(\{.*)", re.DOTALL)
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_CHAT = re.compile(r"(?:^|\n+)\s*(USER|ASSISTANT|FUNCTION RESPONSE):\s*")
_CHAT_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}


class Found(NamedTuple):
    """Calls found in a text, as JSON values, and the text without them."""

    calls: list[Any]
    text: str


def tools_in(system: str) -> tuple[list[Any], str]:
    """The tools that a system message lists, and the message without them; no tools if it lists none."""
    if not any(hint in system for hint in _HINTS):
        return [], system
    for start, end in _LISTS:
        for begins in start.finditer(system):  # Hermes mentions its tags before it uses them
            tools, stop = _listed(system, begins.end())
            if tools:
                closing = end.match(system, stop)
                rest = system[: begins.start()] + system[closing.end() if closing else stop :]
                return tools, rest.removeprefix("SYSTEM:").strip()
    return [], system


def tools_listed(text: str) -> list[Any]:
    """The tools of a text that lists them between tags or one per line, as SmolTalk 2 does; else none."""
    found = tools_in(text)[0] or _listed(text.strip(), 0)[0]
    return found or [each for line in text.splitlines() if isinstance(each := literal(line.strip()), dict)]


def results_in(text: str) -> list[str]:
    """The results of a tool message, each of which Hermes writes between tags; a text without tags is one."""
    return [found.strip() for found in _RESULTS.findall(text)] if _RESULTS.sub("", text).strip() == "" else [text]


def _listed(text: str, place: int) -> tuple[list[Any], int]:
    """JSON values from a place on, one after another or in a list; a list may also be Python's."""
    found: list[Any] = []
    while place < len(text):
        try:
            value, place = _JSON.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        found += value if isinstance(value, list) else [value]
        place += len(text[place:]) - len(text[place:].lstrip(" \r\n\t,"))
    if not found and text.startswith("[", place):
        found, place = _python_list(text, place)
    tools = [each for each in found if isinstance(each, dict) and (each.get("name") or each.get("function"))]
    return tools, place


def _python_list(text: str, place: int) -> tuple[list[Any], int]:
    for end in (found.end() for found in re.finditer(r"\]", text[place:])):
        try:
            value = ast.literal_eval(text[place : place + end])
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value, place + end
    return [], place


def calls_in(text: str, names: Collection[str]) -> Found:
    """The calls of an answer; none if it is only text.

    Args:
        text: The answer.
        names: The tools' names; forms without tags count only with one of these.
    """
    if found := _TAGS.findall(text):
        values = [literal(body) for _, body in found]
        listed = [each for value in values for each in (value if isinstance(value, list) else [value])]
        return Found(listed, _TAGS.sub("", text).strip())
    if "<functioncall>" in text and (glaive := _GLAIVE.search(text)):
        return Found([literal(_GLAIVE_ARGUMENTS.sub(_quoted, glaive[1]))], text[: glaive.start()].strip())
    if "Action Input:" in text and (said := _REACT.search(text)) and said[2].strip() in names:
        arguments = literal(said[3].strip())
        return Found([{"name": said[2].strip(), "arguments": arguments}], (said[1] or "").strip())
    if text.startswith("[") and text.rstrip().endswith("]") and "(" in text:
        calls = _python_calls(text.strip(), names)
        return Found(calls, "") if calls else Found([], text)
    return Found([], text)


def literal(text: str) -> Any:
    """A JSON value, else a Python literal (SmolTalk 2, ms-swift), else the text itself, which the caller rejects."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _quoted(found: re.Match[str]) -> str:
    """Glaive's arguments, JSON in single quotes, as a JSON string."""
    return f"{found[1]}{json.dumps(found[2])}}}"


def _python_calls(text: str, names: Collection[str]) -> list[Any] | None:
    """Calls in Python's syntax, `[f(a=1), g()]`; None if this is not a list of calls of known tools."""
    known = sorted(names, key=len, reverse=True)
    for place, name in enumerate(known):  # names may hold spaces, dots and dashes
        text = re.sub(rf"(?<![\w.]){re.escape(name)}\s*\(", f"hafs7f{place}(", text)
    try:
        tree = ast.parse(text, mode="eval").body
        calls = tree.elts if isinstance(tree, ast.List) else []
        found = [_python_call(each, known) for each in calls]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found or None


def _python_call(node: ast.expr, known: Sequence[str]) -> dict[str, Any]:
    function = node.func if isinstance(node, ast.Call) else None
    if not isinstance(function, ast.Name) or not function.id.startswith("hafs7f") or node.args:  # type: ignore[attr-defined]
        raise ValueError("not a call of a known tool")
    arguments = {str(each.arg): _literal(each.value) for each in node.keywords}  # type: ignore[attr-defined]
    return {"name": known[int(function.id.removeprefix("hafs7f"))], "arguments": arguments}


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id.lower() in _CONSTANTS:
        return _CONSTANTS[node.id.lower()]
    if isinstance(node, ast.List):
        return [_literal(each) for each in node.elts]
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(k): _literal(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    return ast.literal_eval(node)


def turns_of_chat(text: str) -> list[dict[str, str]]:
    """The turns of a chat in one text, as glaive writes it: `USER: ... ASSISTANT: ... FUNCTION RESPONSE: ...`."""
    parts = _CHAT.split(text)
    return [
        {"role": _CHAT_ROLES[role], "content": said.replace("<|endoftext|>", "").strip()}
        for role, said in zip(parts[1::2], parts[2::2], strict=True)
    ]
