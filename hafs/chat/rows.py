"""Messages as a chat template takes them: in which form it reads calls, ids and thinking is found out by probing."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from hafs.chat.messages import Call, Conversation, Message

THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
TOOL = {"type": "function", "function": {
    "name": "hafs7tool", "description": "hafs7about", "parameters": {
        "type": "object", "properties": {"hafs7key": {"type": "string", "description": "hafs7key"}},
        "required": ["hafs7key"]}}}  # fmt: skip
"""A tool to probe with."""


class Form(NamedTuple):
    """In which form a template takes what chat data writes in several ways."""

    arguments: Literal["object", "text"] = "object"
    empty: Literal["text", "none"] = "text"
    """Content of an answer that only calls."""
    ids: Literal["own", "short", "named"] = "own"
    """Ids of calls; short are nine letters and digits, which is all that Mistral's templates take, and named say which
    function is called, for Kimi's templates write nothing else of its name."""


FORMS = [
    Form(arguments=arguments, empty=empty, ids=ids)
    for arguments in ("object", "text")
    for ids in ("own", "short", "named")
    for empty in ("text", "none")
]


def numbered(conversation: Conversation) -> Conversation:
    """Every call with an id, and every result with its call's id and its tool's name."""
    if not any(message.calls or message.role == "tool" for message in conversation):
        return conversation
    done: list[Message] = []
    waiting: list[Call] = []
    for message in conversation:
        if message.calls:
            count = sum(len(each.calls) for each in done)
            calls = tuple(
                call if call.id else replace(call, id=f"call{count + place:05d}")
                for place, call in enumerate(message.calls)
            )
            message, waiting = replace(message, calls=calls), list(calls)  # noqa: PLW2901
        elif message.role == "tool" and waiting:
            own = next((call for call in waiting if call.id == message.call_id), waiting[0])
            waiting.remove(own)
            message = replace(message, name=message.name or own.name, call_id=own.id)  # noqa: PLW2901
        done.append(message)
    return tuple(done)


def row_of(message: Message, form: Form, *, thinks: bool, letters: Callable[[str], str]) -> dict[str, Any]:
    """A message as the template takes it.

    Args:
        message: With ids.
        form: Of the template.
        thinks: Whether the template has a place of its own for thinking.
        letters: What becomes of every text.
    """
    content, thought = message.content, message.reasoning
    if message.role == "assistant" and thinks and not thought and (found := THOUGHT.match(content)):
        content, thought = content[found.end() :], found[1].strip()
    row: dict[str, Any] = {"role": message.role, "content": letters(content)}
    if thought and thinks:
        row["reasoning_content"] = letters(thought)
    if message.calls:
        row["tool_calls"] = [_call(call, form, letters) for call in message.calls]
        if not content and form.empty == "none":
            row["content"] = None
    if message.name is not None:
        row["name"] = letters(message.name)
    if message.call_id is not None:
        row["tool_call_id"] = _id(message.call_id, message.name or "", form)
    return row


def _call(call: Call, form: Form, letters: Callable[[str], str]) -> dict[str, Any]:
    arguments: Any = spelled(call.arguments, letters)
    if form.arguments == "text":
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": _id(call.id or "", call.name, form), "type": "function",
            "function": {"name": letters(call.name), "arguments": arguments}}  # fmt: skip


def _id(identity: str, name: str, form: Form) -> str:
    if form.ids == "named":
        number = re.search(r"(\d{1,9})$", identity)
        return f"functions.{name}:{int(number[1]) if number else 0}"
    if form.ids == "own" or re.fullmatch(r"[A-Za-z0-9]{9}", identity):
        return identity
    return hashlib.sha256(identity.encode()).hexdigest()[:9]


def spelled(value: Any, letters: Callable[[str], str]) -> Any:
    """A JSON value, every text in it changed."""
    if isinstance(value, str):
        return letters(value)
    if isinstance(value, Mapping):
        return {letters(str(key)): spelled(each, letters) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [spelled(each, letters) for each in value]
    return value
