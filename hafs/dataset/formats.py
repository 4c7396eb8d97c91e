"""One JSON object becomes a conversation, whichever of the five known formats it is in."""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from hafs.dataset.decode import Reject
from hafs.text import TEXT_ROLE, Conversation, Message

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant",
    "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
_MAY_FOLLOW = {
    None: ("system", "user"), "system": ("user",), "user": ("assistant",),
    "assistant": ("user", "tool"), "tool": ("assistant", "tool"),
}  # fmt: skip


class Parsed(NamedTuple):
    """A row that is a conversation; `metadata` is every key that the format does not use."""

    format: str
    conversation: Conversation
    metadata: dict[str, Any]


class _Bad(Exception):
    """Carries a Reject out of nested readers."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reject = Reject(reason, message)


def parse(row: dict[str, Any], *, system: str | None = None) -> Parsed | Reject:
    """Detect a row's format by its keys and read it.

    Args:
        row: One decoded JSON object.
        system: A system message to put in front of conversations that have none.
    """
    try:
        for key, (name, read, used) in _FORMATS.items():
            if row.get(key) is not None:
                conversation = read(row)
                metadata = {key: value for key, value in row.items() if key not in used}
                return Parsed(name, _with_system(conversation, system), metadata)
        return _unknown(row)
    except _Bad as bad:
        return bad.reject


def _with_system(conversation: Conversation, system: str | None) -> Conversation:
    if not system or conversation[0].role in ("system", TEXT_ROLE):
        return conversation
    return (Message(role="system", content=system), *conversation)


def _unknown(row: dict[str, Any]) -> Reject:
    for key in _FORMATS:
        if key in row:
            return Reject("missing_field", f"{key!r} is null")
    known = "'instruction', 'messages', 'conversations', 'prompt' or 'text'"
    close = [(key, match[0]) for key in list(row)[:20] if (match := difflib.get_close_matches(key, _FORMATS, n=1))]
    hint = f"; did you mean {close[0][1]!r} where it says {close[0][0]!r}?" if close else ""
    return Reject("missing_field", f"no field {known}, got {', '.join(map(repr, list(row)[:5])) or 'none'}{hint}")


def _string(row: dict[str, Any], key: str, *, optional: bool = False) -> str:
    value = row.get(key)
    if value is None:
        if optional:
            return ""
        state = "is null" if key in row else "is missing"
        raise _Bad("missing_field", f"{key!r} {state}; every sample needs it")
    if not isinstance(value, str):
        raise _Bad("wrong_type", f"{key!r} is {type(value).__name__}, expected a string")
    if not optional and not value.strip():
        raise _Bad("empty_field", f"{key!r} is empty; every sample needs one")
    return value


def _instruction(row: dict[str, Any]) -> Conversation:
    asked, more, said = _string(row, "instruction"), _string(row, "input", optional=True), _string(row, "output")
    return _pair(row, f"{asked}\n\n{more}" if more.strip() else asked, said)


def _prompt_completion(row: dict[str, Any]) -> Conversation:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return _ordered(
            [_message(item, "prompt/completion", place) for place, item in enumerate(prompt + completion, 1)]
        )
    return _pair(row, _string(row, "prompt"), _string(row, "completion"))


def _pair(row: dict[str, Any], asked: str, said: str) -> Conversation:
    system = _string(row, "system", optional=True)
    turns = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return (Message(role="system", content=system), *turns) if system.strip() else turns


def _plain(row: dict[str, Any]) -> Conversation:
    return (Message(role=TEXT_ROLE, content=_string(row, "text")),)


def _chat(key: str) -> Callable[[dict[str, Any]], Conversation]:
    def read(row: dict[str, Any]) -> Conversation:
        turns = row[key]
        if not isinstance(turns, list):
            raise _Bad("wrong_type", f"{key!r} is {type(turns).__name__}, expected a list of turns")
        if not turns:
            raise _Bad("empty_field", f"{key!r} is an empty list")
        messages = [_message(turn, key, place) for place, turn in enumerate(turns, 1)]
        system = _string(row, "system", optional=True)
        if system.strip() and messages[0].role != "system":
            messages.insert(0, Message(role="system", content=system))
        return _ordered(messages)

    return read


def _message(turn: object, key: str, place: int) -> Message:
    where = f"{key!r} turn {place}"
    if not isinstance(turn, dict):
        raise _Bad("wrong_type", f"{where} is {type(turn).__name__}, expected an object")
    name = turn.get("role", turn.get("from"))
    if not isinstance(name, str):
        state = "no role" if name is None else f"a role of type {type(name).__name__}"
        raise _Bad("missing_field" if name is None else "wrong_type", f"{where} has {state}")
    role = ROLES.get(name.strip().lower())
    if role is None:
        raise _Bad("unknown_role", f"{where} has the role {name[:40]!r}, expected system, user, assistant or tool")
    for field in ("tool_calls", "function_call"):
        if turn.get(field):
            raise _Bad("unsupported_field", f"{where} has {field!r}; write the call into its content")
    return Message(role=role, content=_content(turn, where, role))


def _content(turn: dict[str, Any], where: str, role: str) -> str:
    content = turn.get("content", turn.get("value"))
    if content is None:
        raise _Bad("missing_field", f"{where} ({role}) has no content")
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise _Bad("wrong_type", f"{where} ({role}) has content of type {type(content).__name__}, expected a string")
    if role != "tool" and not content.strip():
        raise _Bad("empty_field", f"{where} ({role}) is empty")
    return content


def _ordered(messages: list[Message]) -> Conversation:
    before = None
    for place, message in enumerate(messages, 1):
        if message.role not in _MAY_FOLLOW[before]:
            after = f"after {before}" if before else "first"
            raise _Bad("role_order", f"turn {place} is {message.role}, which cannot come {after}")
        before = message.role
    if all(message.role != "assistant" for message in messages):
        raise _Bad("no_supervised_token", "no assistant turn, so there is nothing to learn from")
    if before != "assistant":
        raise _Bad("role_order", f"the conversation ends with {before}, expected an assistant's answer")
    return tuple(messages)


_FORMATS: dict[str, tuple[str, Callable[[dict[str, Any]], Conversation], frozenset[str]]] = {
    "messages": ("messages", _chat("messages"), frozenset({"messages", "system"})),
    "conversations": ("sharegpt", _chat("conversations"), frozenset({"conversations", "system"})),
    "instruction": ("instruction", _instruction, frozenset({"instruction", "input", "output", "system"})),
    "prompt": ("prompt_completion", _prompt_completion, frozenset({"prompt", "completion", "system"})),
    "text": ("text", _plain, frozenset({"text"})),
}
