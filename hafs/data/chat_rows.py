"""Read chat rows: a list of turns becomes a conversation."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hafs.chat import Conversation, Message, learned_part
from hafs.data.decode import UnusableRow
from hafs.data.tool_calls import call_of, calls_of, looks_like_calls, tools_from, tools_of, written_calls
from hafs.data.training_marks import TURN_MARKS, is_trained_on
from hafs.data.written_tools import literal, results_in, tools_in

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "function_call": "assistant", "tool_call": "assistant", "caller": "assistant", "conclusion": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "observations": "tool",
    "function_response": "tool", "tool_response": "tool",
    "ipython": "tool",
}  # fmt: skip
_CALLING = ("function_call", "tool_call")
_MAY_FOLLOW = {
    None: ("system", "user"), "system": ("user",), "user": ("assistant",),
    "assistant": ("user", "tool"), "tool": ("assistant", "tool"),
}  # fmt: skip
REASONING = ("reasoning_content", "reasoning", "thinking")
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_LONGEST_KEY = 60  # characters of a key that are shown
_TURN_KEYS = {"assistant": ("tool_calls", "function_call", *REASONING), "tool": ("name", "tool_call_id")}


def read_chat(value: Any, key: str, row: Mapping[str, Any], unused: list[str], *, reasoning: bool) -> Conversation:
    """Read a list of turns, or its JSON text, as a conversation.

    Args:
        value: The list.
        key: Its key in the row.
        row: The row, which also holds the tools.
        unused: Unused keys of turns are appended to this list.
        reasoning: Whether to keep the reasoning of answers.

    Raises:
        UnusableRow: A turn cannot be read, or the order of roles is invalid.
    """
    if isinstance(value, str):
        value = literal(value)
    if not isinstance(value, list):
        raise UnusableRow("wrong_type", f"{key!r} is {type(value).__name__}, expected a list of turns")
    if not value:
        raise UnusableRow("empty_field", f"{key!r} is an empty list")
    turns = [part for turn in value for part in _both_turns(turn)]
    read = [_message(turn, key, place, unused, reasoning) for place, turn in enumerate(turns, 1)]
    messages = [part for message in read for part in _each_result(message)]
    if messages[-1].role == "user" and len(messages) > 1:
        unused.append(f"{key}[-1], a question without an answer")
    tools = tools_of(row)
    if messages[0].role == "system":
        listed, text = tools_in(messages[0].content)
        if listed:  # the chat template writes the tools, so the text does not repeat them
            tools = tools or tools_from(listed, "tools")
            messages = [replace(messages[0], content=text)][: bool(text)] + messages[1:]
    return ordered(messages, tools)


def _both_turns(turn: Any) -> list[Any]:
    """A question and its answer that share one object, `{"human": ..., "assistant": ...}`, as two turns."""
    if isinstance(turn, dict) and len(turn) == 2 and not turn.keys() & {"role", "from", "content", "value"}:
        roles = [ROLES.get(name.lower()) for name in turn]
        if set(roles) == {"user", "assistant"}:
            said = dict(zip(roles, turn.values(), strict=True))
            return [{"role": role, "content": said[role]} for role in ("user", "assistant")]
    return [turn]


def _each_result(message: Message) -> list[Message]:
    if message.role != "tool" or "<tool_response>" not in message.content:
        return [message]
    return [replace(message, content=text) for text in results_in(message.content)]


def _message(turn: object, key: str, place: int, unused: list[str], reasoning: bool) -> Message:
    where = f"{key!r} turn {place}"
    if not isinstance(turn, dict):
        raise UnusableRow("wrong_type", f"{where} is {type(turn).__name__}, expected an object")
    name = turn.get("role", turn.get("from"))
    if not isinstance(name, str):
        state = "no role" if name is None else f"a role of type {type(name).__name__}"
        raise UnusableRow("missing_field" if name is None else "wrong_type", f"{where} has {state}")
    role = ROLES.get(name := name.strip().lower().replace("-", "_"))
    if role is None:
        raise UnusableRow(
            "unknown_role", f"{where} has the role {name[:40]!r}, expected system, user, assistant or tool"
        )
    if len(turn) == 2 and isinstance(turn.get("content", turn.get("value")), str):
        message = Message(role=role, content=_content(turn, where, role, ()))
    else:
        calls = calls_of(turn, where) if role == "assistant" else ()
        message = Message(
            role=role, content=_content(turn, where, role, calls), calls=calls,
            learned=role != "assistant" or is_trained_on(turn, where),
            name=_word(turn, "name") if role == "tool" else None,
            call_id=_word(turn, "tool_call_id") if role == "tool" else None,
        )  # fmt: skip
        unused += _unread_inside(turn, f"{key}[]", role)
    if role != "assistant":
        return message
    if name in _CALLING and (listed := looks_like_calls(message.content)):
        return replace(message, content="", calls=tuple(call_of(each, where) for each in listed))
    return (
        message
        if len(turn) == 2 and "<think>" not in message.content
        else with_reasoning(message, turn, keep=reasoning)
    )


def with_reasoning(message: Message, said: Mapping[str, Any], *, keep: bool) -> Message:
    """An answer with its reasoning, from a field of its own or from tags in the content; or without it."""
    if not keep:
        return replace(message, content=_THOUGHT.sub("", message.content, count=1) or message.content)
    thought = next((said[key] for key in REASONING if is_reasoning(said.get(key))), "")
    return replace(message, reasoning=thought.strip()) if thought else message


def is_reasoning(value: object) -> bool:
    """Whether a value is a thought, and not Nemotron's switch `on` or `off`."""
    return isinstance(value, str) and value.strip().lower() not in ("", "on", "off")


def _word(turn: Mapping[str, Any], key: str) -> str | None:
    return None if turn.get(key) is None else str(turn[key])


def _unread_inside(turn: Mapping[str, Any], inside: str, role: str) -> list[str]:
    """Unused keys of a turn and of the parts of its content; empty values do not count."""
    read = {"role" if "role" in turn else "from", "content" if "content" in turn else "value"}
    wanted = role == "assistant"  # in other turns, a mark that includes the turn in training has no effect
    read |= {name for name in TURN_MARKS if wanted or not turn.get(name)} | set(_TURN_KEYS.get(role, ()))
    found = [shown(key, f"{inside}.") for key, value in turn.items() if key not in read and not is_empty(value)]
    parts = turn.get("content", turn.get("value"))
    for part in parts if isinstance(parts, list) else ():
        more = (key for key, value in part.items() if key not in ("type", "text") and not is_empty(value))
        found += [shown(key, f"{inside}.content[].") for key in more]
    return found


def is_empty(value: object) -> bool:
    """Whether a value is null, or an empty string, list or object."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def shown(key: str, inside: str = "") -> str:
    """A key as shown in reports: shortened and printable."""
    key = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}..."
    return inside + (key if key.isprintable() else repr(key))


def _content(turn: Mapping[str, Any], where: str, role: str, calls: tuple[Any, ...]) -> str:
    content = turn.get("content", turn.get("value"))
    if content is None and calls:
        return ""
    if content is None:
        raise UnusableRow("missing_field", f"{where} ({role}) has no content")
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)
    if role == "tool" and isinstance(content, dict | list):
        content = json.dumps(content, ensure_ascii=False)
    if not isinstance(content, str):
        raise UnusableRow(
            "wrong_type", f"{where} ({role}) has content of type {type(content).__name__}, expected a string"
        )
    if role != "tool" and not content.strip() and not calls:
        raise UnusableRow("empty_field", f"{where} ({role}) is empty")
    return content


def ordered(messages: list[Message], tools: tuple[Mapping[str, Any], ...] = ()) -> Conversation:
    """Turns as a conversation with its tools, up to the last learned answer.

    Raises:
        UnusableRow: The order of roles is invalid, or no answer is trained on.
    """
    merged: list[Message] = []
    names = [tool["function"]["name"] for tool in tools]
    for message in messages:
        if merged and message.calls and not message.content and merged[-1].role == message.role == "assistant":
            merged[-1] = replace(merged[-1], calls=merged[-1].calls + message.calls)
        else:
            merged.append(_as_called(message, names) if tools else message)
    before = None
    for place, message in enumerate(merged, 1):
        if message.role not in _MAY_FOLLOW[before]:
            after = f"after {before}" if before else "first"
            raise UnusableRow("role_order", f"turn {place} is {message.role}, which cannot come {after}")
        before = message.role
    if all(message.role != "assistant" for message in merged):
        raise UnusableRow("no_supervised_token", "no assistant turn, so there is nothing to train on")
    conversation = learned_part(tuple(merged))
    if not conversation:
        raise UnusableRow("no_supervised_token", "every answer is excluded from training")
    return (replace(conversation[0], tools=tools), *conversation[1:]) if tools else conversation


def _as_called(message: Message, names: Sequence[str]) -> Message:
    if message.role != "assistant" or message.calls:
        return message
    calls, text = written_calls(message.content, names, "an answer")
    return replace(message, content=text, calls=calls) if calls else message
