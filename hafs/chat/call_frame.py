"""The literal text around tool calls, from which a grammar of calls is built.

A template writes one or several calls as

    start NAME middle ARGUMENTS (joint NAME middle ARGUMENTS)* closing

where ARGUMENTS is a JSON object, or `key between value` pairs in tags. The parts are found by rendering probe calls.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from hafs.chat.answers import AnswerCutter
from hafs.chat.call_parser import KEY, LAST, MORE, PROMPTED, TOOL_NAME, VALUE, CallSyntax, open_ids, written_call
from hafs.chat.messages import Call
from hafs.chat.prompted_tools import call_text
from hafs.chat.template_messages import probe_id
from hafs.core.errors import HafsError

_ARGUMENTS = re.compile(rf'\{{\s*"{KEY}"\s*:\s*"{VALUE}"\s*\}}')
NUMBER = "\ue0f2"
"""Stands for a call's number in the texts of a frame, as `ID` for its id."""


class CallFrame(NamedTuple):
    """The literal parts of an answer that calls tools."""

    start: str
    middle: str
    joint: str | None
    """None: the template accepts one call per answer."""
    closing: str
    separators: tuple[str, str] | None
    """Between items and after keys of the arguments' JSON; None: any white space."""


_START, _MIDDLE = call_text(Call(name=TOOL_NAME, arguments={})).removesuffix("{}}").split(TOOL_NAME)
_PROMPTED = CallFrame(_START, _MIDDLE, f"}}\n{_START}", "}", (", ", ": "))


def find_frame(cutter: AnswerCutter, syntax: CallSyntax) -> CallFrame | None:
    """The frame of the template's tool calls; None if a grammar cannot follow them.

    Args:
        cutter: Renders the probes.
        syntax: The syntax of the template's calls.
    """
    if syntax == PROMPTED:
        return _PROMPTED
    try:
        one = written_call(cutter, {KEY: VALUE})
        two = written_call(cutter, {KEY: VALUE, MORE: LAST})
    except HafsError:
        return None
    try:
        twice = written_call(cutter, {KEY: VALUE}, 2)
    except HafsError:
        twice = ""
    ids = [probe_id(place, cutter.template.form) for place in range(2)]
    if syntax.family == "tagged":
        return _tagged(syntax, one, twice, ids)
    return _json(one, two, twice, ids)


def _json(one: str, two: str, twice: str, ids: Sequence[str]) -> CallFrame | None:
    found, both = _ARGUMENTS.search(one), list(_ARGUMENTS.finditer(twice))
    if found is None or TOOL_NAME not in one[: found.start()]:
        return None
    start, _, middle = one[: found.start()].rpartition(TOOL_NAME)
    between = twice[both[0].end() : both[1].start()] if len(both) == 2 else ""
    joint = between.rpartition(TOOL_NAME)[0] if TOOL_NAME in between else None
    pairs = [(", ", ": "), (",", ":")]
    written = (pair for pair in pairs if f'"{VALUE}"{pair[0]}"{MORE}"{pair[1]}"{LAST}"' in two)
    return CallFrame(
        open_ids(start, ids), _numbered(open_ids(middle, ids)), None if joint is None else open_ids(joint, ids),
        open_ids(one[found.end() :], ids), next(written, None),
    )  # fmt: skip


def _tagged(syntax: CallSyntax, one: str, twice: str, ids: Sequence[str]) -> CallFrame:
    start, _, rest = one.partition(TOOL_NAME)
    closing = rest.partition(VALUE)[2].removeprefix(syntax.end)
    following = twice.partition(VALUE)[2].removeprefix(syntax.end)
    joint = following.partition(TOOL_NAME)[0] if TOOL_NAME in following else None
    return CallFrame(
        open_ids(start, ids), open_ids(syntax.after_name, ids), None if joint is None else open_ids(joint, ids),
        open_ids(closing, ids), (", ", ": "),
    )  # fmt: skip


def _numbered(text: str) -> str:
    return re.sub(r"\d+", NUMBER, text)
