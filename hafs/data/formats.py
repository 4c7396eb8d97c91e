"""One JSON object becomes a conversation, whichever of the five known formats it is in."""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from hafs.chat import TEXT_ROLE, Conversation, Message, learned_part
from hafs.data.decode import Reject, Unusable
from hafs.data.wanted import TURN_WORDS, is_learned, row_words, unwanted

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

_LONGEST_KEY = 60  # characters of a key that are shown


class Parsed(NamedTuple):
    """A row that is a conversation."""

    format: str
    conversation: Conversation
    metadata: dict[str, Any]
    """Every key of the row that the format does not use."""
    unused: list[str]
    """Keys of the row and of its turns that say something nobody reads."""


def parse(row: dict[str, Any], *, system: str | None = None) -> Parsed | Reject:
    """Detect a row's format by its keys and read it.

    Args:
        row: One decoded JSON object.
        system: A system message to put in front of conversations that have none.
    """
    try:
        for key, (name, read, used) in _FORMATS.items():
            if row.get(key) is not None:
                if reject := unwanted(row, pair=key == "prompt"):
                    return reject
                unused: list[str] = []
                conversation = read(row, unused)
                metadata = {key: value for key, value in row.items() if key not in used}
                if metadata:
                    unused += _unread(metadata, row_words(row, pair=key == "prompt"))
                return Parsed(name, _with_system(conversation, system), metadata, unused)
        return _unknown(row)
    except Unusable as bad:
        return bad.reject


def _unread(metadata: dict[str, Any], read: set[str]) -> list[str]:
    if isinstance(metadata.get("split_group"), str):
        read |= {"split_group"}
    return [_shown(key) for key, value in metadata.items() if key not in read and not _says_nothing(value)]


def _says_nothing(value: object) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _shown(key: str, inside: str = "") -> str:
    key = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}..."
    return inside + (key if key.isprintable() else repr(key))


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
        raise Unusable("missing_field", f"{key!r} {state}; every sample needs it")
    if not isinstance(value, str):
        raise Unusable("wrong_type", f"{key!r} is {type(value).__name__}, expected a string")
    if not optional and not value.strip():
        raise Unusable("empty_field", f"{key!r} is empty; every sample needs one")
    return value


def _instruction(row: dict[str, Any], unused: list[str]) -> Conversation:
    asked, more, said = _string(row, "instruction"), _string(row, "input", optional=True), _string(row, "output")
    return _pair(row, f"{asked}\n\n{more}" if more.strip() else asked, said)


def _prompt_completion(row: dict[str, Any], unused: list[str]) -> Conversation:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return _ordered(
            [_message(item, "prompt/completion", place, unused) for place, item in enumerate(prompt + completion, 1)]
        )
    return _pair(row, _string(row, "prompt"), _string(row, "completion"))


def _pair(row: dict[str, Any], asked: str, said: str) -> Conversation:
    system = _string(row, "system", optional=True)
    turns = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return (Message(role="system", content=system), *turns) if system.strip() else turns


def _plain(row: dict[str, Any], unused: list[str]) -> Conversation:
    return (Message(role=TEXT_ROLE, content=_string(row, "text")),)


def _chat(key: str) -> "Reader":
    def read(row: dict[str, Any], unused: list[str]) -> Conversation:
        turns = row[key]
        if not isinstance(turns, list):
            raise Unusable("wrong_type", f"{key!r} is {type(turns).__name__}, expected a list of turns")
        if not turns:
            raise Unusable("empty_field", f"{key!r} is an empty list")
        messages = [_message(turn, key, place, unused) for place, turn in enumerate(turns, 1)]
        system = _string(row, "system", optional=True)
        if system.strip() and messages[0].role != "system":
            messages.insert(0, Message(role="system", content=system))
        return _ordered(messages)

    return read


def _message(turn: object, key: str, place: int, unused: list[str]) -> Message:
    where = f"{key!r} turn {place}"
    if not isinstance(turn, dict):
        raise Unusable("wrong_type", f"{where} is {type(turn).__name__}, expected an object")
    name = turn.get("role", turn.get("from"))
    if not isinstance(name, str):
        state = "no role" if name is None else f"a role of type {type(name).__name__}"
        raise Unusable("missing_field" if name is None else "wrong_type", f"{where} has {state}")
    role = ROLES.get(name.strip().lower())
    if role is None:
        raise Unusable("unknown_role", f"{where} has the role {name[:40]!r}, expected system, user, assistant or tool")
    for field in ("tool_calls", "function_call"):
        if turn.get(field):
            raise Unusable("unsupported_field", f"{where} has {field!r}; write the call into its content")
    content = _content(turn, where, role)
    if len(turn) == 2 and isinstance(turn.get("content", turn.get("value")), str):
        return Message(role=role, content=content)
    unused += _unread_inside(turn, f"{key}[]", role)
    return Message(role=role, content=content, learned=role != "assistant" or is_learned(turn, where))


def _unread_inside(turn: dict[str, Any], inside: str, role: str) -> list[str]:
    """Keys of a turn, and of the parts of its content, that say something nobody reads."""
    read = {"role" if "role" in turn else "from", "content" if "content" in turn else "value"}
    wanted = role == "assistant"  # elsewhere, a word that asks to learn the turn is not followed
    read |= {name for name in TURN_WORDS if wanted or not turn.get(name)}
    found = [_shown(key, f"{inside}.") for key, value in turn.items() if key not in read and not _says_nothing(value)]
    parts = turn.get("content", turn.get("value"))
    for part in parts if isinstance(parts, list) else ():
        more = (key for key, value in part.items() if key not in ("type", "text") and not _says_nothing(value))
        found += [_shown(key, f"{inside}.content[].") for key in more]
    return found


def _content(turn: dict[str, Any], where: str, role: str) -> str:
    content = turn.get("content", turn.get("value"))
    if content is None:
        raise Unusable("missing_field", f"{where} ({role}) has no content")
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise Unusable(
            "wrong_type", f"{where} ({role}) has content of type {type(content).__name__}, expected a string"
        )
    if role != "tool" and not content.strip():
        raise Unusable("empty_field", f"{where} ({role}) is empty")
    return content


def _ordered(messages: list[Message]) -> Conversation:
    before = None
    for place, message in enumerate(messages, 1):
        if message.role not in _MAY_FOLLOW[before]:
            after = f"after {before}" if before else "first"
            raise Unusable("role_order", f"turn {place} is {message.role}, which cannot come {after}")
        before = message.role
    if all(message.role != "assistant" for message in messages):
        raise Unusable("no_supervised_token", "no assistant turn, so there is nothing to learn from")
    if before != "assistant":
        raise Unusable("role_order", f"the conversation ends with {before}, expected an assistant's answer")
    conversation = learned_part(tuple(messages))
    if not conversation:
        raise Unusable("no_supervised_token", "every answer says that it is not to be learned")
    return conversation


Reader: TypeAlias = Callable[[dict[str, Any], list[str]], Conversation]
"""Reads a row, and appends to the list the keys within it that nobody reads."""
_FORMATS: dict[str, tuple[str, Reader, frozenset[str]]] = {
    "messages": ("messages", _chat("messages"), frozenset({"messages", "system"})),
    "conversations": ("sharegpt", _chat("conversations"), frozenset({"conversations", "system"})),
    "instruction": ("instruction", _instruction, frozenset({"instruction", "input", "output", "system"})),
    "prompt": ("prompt_completion", _prompt_completion, frozenset({"prompt", "completion", "system"})),
    "text": ("text", _plain, frozenset({"text"})),
}
