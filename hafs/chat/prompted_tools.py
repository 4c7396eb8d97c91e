"""Tool calling by prompt, for models whose chat template does not support tools.

Training and serving use the same text. The system message lists the tools. An answer is a tool call in JSON,
`{"name": ..., "arguments": {...}}`. A text answer calls the additional tool `answer_in_words`; its text starts on the
next line.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from hafs.chat.messages import Call, Conversation, Message
from hafs.chat.template_messages import with_call_ids

IN_WORDS = "answer_in_words"
NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}}
WORDS: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": IN_WORDS, "description": "Answer the question without a tool.", "parameters": NOTHING},
}
HEAD = json.dumps({"name": IN_WORDS, "arguments": {}}) + "\n"
"""Precedes a text answer."""


def description(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tools, and how to call one, as text for the system message."""
    rows = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
    form = '{"name": "<tool>", "arguments": {...}}'
    return "\n".join(["You have these tools:", *rows, f"Answer with a call of one tool: {form}"])


def call_text(call: Call) -> str:
    """A tool call in the format that the model generates."""
    return json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)


def prompt_tools(conversation: Conversation, *, leads: bool = True) -> Conversation:
    """Write tools and tool calls as message text; tool results become user messages.

    Args:
        conversation: A conversation with tools or tool calls.
        leads: Whether the template accepts a system message; if not, the first user message starts with the tools.
    """
    tools, conversation = conversation[0].tools, with_call_ids(conversation)
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
