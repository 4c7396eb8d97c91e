"""The tool sample: conversations in which the assistant calls the functions of yaze_api.json."""

import json
from typing import Any

from ..dice import Dice
from .api import API
from .refusals import missing, out_of_range
from .requests import REQUESTS
from .turns import TURNS

__all__ = ["API", "records"]

COUNT = 500
SYSTEMS = (
    "You edit a Zelda 3 ROM with the YAZE tools. Answer with one JSON tool call, or in plain words.",
    "You are the tool user of a ROM editor. One JSON call per step; plain text when no call is due.",
    "YAZE assistant: reply with a single JSON tool call, a short question, or a short answer.",
)
Message = dict[str, str]


def call(tool: str, arguments: dict[str, Any]) -> str:
    """A tool call as the assistant writes it."""
    return json.dumps({"tool": tool, "arguments": arguments}, ensure_ascii=False)


def _single(d: Dice) -> list[Message]:
    name = d.of(sorted(REQUESTS))
    ask, arguments = REQUESTS[name](d)
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": call(name, arguments)}]


def _two_steps(d: Dice) -> list[Message]:
    ask, tool, arguments, result, end = d.of(TURNS)(d)
    text = json.dumps(result, ensure_ascii=False)
    told = {"role": "tool", "content": text} if d.chance(0.35) else {"role": "user", "content": f"Tool result: {text}"}
    return [
        {"role": "user", "content": ask},
        {"role": "assistant", "content": call(tool, arguments)},
        told,
        {"role": "assistant", "content": end if isinstance(end, str) else call(*end)},
    ]


def _plain(d: Dice) -> list[Message]:
    ask, reply = missing(d) if d.chance(0.55) else out_of_range(d)
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": reply}]


def records(seed: int) -> list[dict[str, list[Message]]]:
    """The rows as they are written to the file; no two of them share the user's first message."""
    d = Dice(f"yaze/{seed}")
    seen: set[str] = set()
    rows: list[dict[str, list[Message]]] = []
    while len(rows) < COUNT:
        share = len(rows) % 20
        turns = (_single if share < 9 else _two_steps if share < 17 else _plain)(d)
        if turns[0]["content"].lower() not in seen:
            seen.add(turns[0]["content"].lower())
            rows.append({"messages": [{"role": "system", "content": d.of(SYSTEMS)}, *turns]})
    return d.shuffled(rows)
