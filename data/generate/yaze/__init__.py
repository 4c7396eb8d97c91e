"""The tool sample: conversations in which the assistant calls the tools of the editor's command line agent."""

import json
from typing import Any

from ..dice import Dice
from .api import API, offered
from .questions import QUESTIONS
from .refusals import REFUSALS, not_offered
from .talks import ERRORS, STEPS, Talk

__all__ = ["API", "api_text", "records"]

COUNT = 500
SHORT = 600  # characters of a conversation that may offer all tools
LONGEST = 3000  # characters of a row, about 1,000 tokens
SYSTEMS = (
    "You work in the YAZE editor for A Link to the Past. "
    "Name the tool or the step, with exact values, and answer briefly.",
    "You look things up in a ROM hacking project with the editor's tools. "
    "Call a tool, or answer in one or two sentences.",
    None,
)
"""The first is the system message of the expert in `conf/expert/yaze.yaml`."""
ALL = tuple(tool["name"] for tool in API)


def _asked(d: Dice) -> Talk:
    """A question and the call that answers it, often with the result and the answer in words."""
    case = d.of(QUESTIONS)(d)
    return Talk().case(case) if d.chance(0.45) else Talk().asks(case.ask).calls((case.tool, case.arguments))


def _without_call(d: Dice) -> tuple[Talk, str]:
    """A request that is answered in words alone, and the tool that must not be offered."""
    ask, reply, *hidden = not_offered(d) if d.chance(0.2) else d.of(REFUSALS)(d)
    return Talk().asks(ask).says(reply), hidden[0] if hidden else ""


def _talk(d: Dice, share: int) -> tuple[Talk, str]:
    """The conversation of one row; `share` is its place among twenty."""
    if share < 10:
        return _asked(d), ""
    if share < 15:
        return d.of(STEPS)(d), ""
    return (d.of(ERRORS)(d), "") if share < 17 else _without_call(d)


def _tools(d: Dice, talk: Talk, hidden: str) -> list[dict[str, Any]]:
    """All seven tools in some of the short conversations, else those that are called and one or two more."""
    others = [name for name in ALL if name not in talk.called and name != hidden]
    short = len(json.dumps(talk.messages)) < SHORT
    more = others if short and d.chance(0.25) else d.some(others, d.between(1, 2) if talk.called else 3)
    return offered({*talk.called, *more})


def records(seed: int) -> list[dict[str, Any]]:
    """The rows as they are written to the file; no two of them share the user's first message."""
    d = Dice(f"yaze/{seed}")
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    while len(rows) < COUNT:
        talk, hidden = _talk(d, len(rows) % 20)
        first = talk.messages[0]["content"].lower()
        system = d.of(SYSTEMS)
        led = [{"role": "system", "content": system}] if system else []
        row = {"messages": [*led, *talk.messages], "tools": _tools(d, talk, hidden)}
        if first not in seen and len(json.dumps(row)) <= LONGEST:
            seen.add(first)
            rows.append(row)
    return d.shuffled(rows)


def api_text() -> str:
    """The tools as the file yaze_api.json."""
    return json.dumps(API, indent=1, ensure_ascii=False) + "\n"
