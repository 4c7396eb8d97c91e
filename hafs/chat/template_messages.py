"""Messages in the form that a chat template expects: the format of tool calls, of their ids and of reasoning."""

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
"""A tool definition for probing templates."""


class MessageFormat(NamedTuple):
    """How a template expects the fields that chat data writes in several ways."""

    arguments: Literal["object", "text"] = "object"
    empty: Literal["text", "none"] = "text"
    """Content of an answer that consists of tool calls only: an empty string or None."""
    ids: Literal["own", "short", "named"] = "own"
    """Ids of tool calls. `short` is nine letters and digits, which Mistral's templates require. `named` contains the
    function's name, because Kimi's templates write only the id."""


MESSAGE_FORMATS = [
    MessageFormat(arguments=arguments, empty=empty, ids=ids)
    for arguments in ("object", "text")
    for ids in ("own", "short", "named")
    for empty in ("text", "none")
]


def with_call_ids(conversation: Conversation) -> Conversation:
    """Give every tool call an id, and every tool result its call's id and its tool's name."""
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


def template_message(
    message: Message, form: MessageFormat, *, has_reasoning_field: bool, escape: Callable[[str], str]
) -> dict[str, Any]:
    """A message as the dictionary that the template expects.

    Args:
        message: A message whose tool calls have ids.
        form: The template's format.
        has_reasoning_field: Whether the template renders a separate reasoning field.
        escape: Applied to every string.
    """
    content, thought = message.content, message.reasoning
    if message.role == "assistant" and has_reasoning_field and not thought and (found := THOUGHT.match(content)):
        content, thought = content[found.end() :], found[1].strip()
    row: dict[str, Any] = {"role": message.role, "content": escape(content)}
    if thought and has_reasoning_field:
        row["reasoning_content"] = escape(thought)
    if message.calls:
        row["tool_calls"] = [_call(call, form, escape) for call in message.calls]
        if not content and form.empty == "none":
            row["content"] = None
    if message.name is not None:
        row["name"] = escape(message.name)
    if message.call_id is not None:
        row["tool_call_id"] = _id(message.call_id, message.name or "", form)
    return row


def _call(call: Call, form: MessageFormat, escape: Callable[[str], str]) -> dict[str, Any]:
    arguments: Any = map_strings(call.arguments, escape)
    if form.arguments == "text":
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": _id(call.id or "", call.name, form), "type": "function",
            "function": {"name": escape(call.name), "arguments": arguments}}  # fmt: skip


def _id(identity: str, name: str, form: MessageFormat) -> str:
    if form.ids == "named":
        number = re.search(r"(\d{1,9})$", identity)
        return f"functions.{name}:{int(number[1]) if number else 0}"
    if form.ids == "own" or re.fullmatch(r"[A-Za-z0-9]{9}", identity):
        return identity
    return hashlib.sha256(identity.encode()).hexdigest()[:9]


PROBE_ID = "call_hafs7call"


def probe_id(place: int, form: MessageFormat) -> str:
    """The id of the probe call at `place`, as the template gets it."""
    return _id(f"{PROBE_ID}{place}", "hafs7tool", form)


def map_strings(value: Any, escape: Callable[[str], str]) -> Any:
    """A JSON value with a function applied to every string."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return {escape(str(key)): map_strings(each, escape) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [map_strings(each, escape) for each in value]
    return value
