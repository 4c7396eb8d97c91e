"""Tools for models whose chat template knows none: told in the system's message, called in JSON.

The same words in training and in serving. An answer is one call, `{"name": ..., "arguments": {...}}`, or words, which
are one tool more: the model names it, and its text follows on the next line.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from hafs.chat.messages import Call, Conversation, Message
from hafs.chat.rows import numbered

IN_WORDS = "answer_in_words"
NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}}
WORDS: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": IN_WORDS, "description": "Answer the question without a tool.", "parameters": NOTHING},
}
HEAD = json.dumps({"name": IN_WORDS, "arguments": {}}) + "\n"
"""Before an answer in words."""


def description(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tools and how one is called, in words."""
    rows = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
    form = '{"name": "<tool>", "arguments": {...}}'
    return "\n".join(["You have these tools:", *rows, f"Answer with a call of one tool: {form}"])


def call_text(call: Call) -> str:
    """A call as the model writes it."""
    return json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)


def told(conversation: Conversation, *, leads: bool = True) -> Conversation:
    """The conversation without tools and calls, which are text of it; results of tools are what the user says.

    Args:
        conversation: With tools or calls.
        leads: Whether the system may lead it; else the first question begins with what it would say.
    """
    tools, conversation = conversation[0].tools, numbered(conversation)
    written: list[Message] = []
    for role, run in groupby(conversation, lambda message: message.role):
        turns = list(run)
        if role == "tool":
            results = [f"Result of {turn.name or turn.call_id or 'the tool'}: {turn.content}" for turn in turns]
            written.append(Message(role="user", content="\n".join(results)))
        else:
            written += [_said(turn, bool(tools)) if role == "assistant" else replace(turn, tools=()) for turn in turns]
    if not tools:
        return tuple(written)
    text = description([*tools, WORDS])
    if written[0].role == "system" or not leads:
        order = (written[0].content, text) if written[0].role == "system" else (text, written[0].content)
        return (replace(written[0], content="\n\n".join(order)), *written[1:])
    return (Message(role="system", content=text), *written)


def _said(turn: Message, tools: bool) -> Message:
    if turn.calls:
        lines = [*([turn.content] if turn.content else []), *map(call_text, turn.calls)]
        return replace(turn, content="\n".join(lines), calls=(), tools=())
    return replace(turn, content=HEAD + turn.content, tools=()) if tools else turn
