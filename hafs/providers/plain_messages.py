"""Converts LangChain's messages to plain text for a local base."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from hafs.chat import Call, Conversation, Message
from hafs.providers.provider_error import ProviderError

ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool", "chat": "user", "function": "tool"}


def calling_conversation_of(messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]]) -> Conversation:
    """LangChain's messages as a conversation with tools; tool calls and their results keep their structure.

    Raises:
        ProviderError: A message contains something other than text.
    """
    written = [_calling(message) for message in messages]
    return tuple(replace(each, tools=tuple(tools) if place == 0 else ()) for place, each in enumerate(written))


def _calling(message: BaseMessage) -> Message:
    role, calls = ROLES.get(message.type, "user"), getattr(message, "tool_calls", None) or ()
    content = text_of(AIMessage(content=message.content)) if calls else text_of(message)
    return Message(
        role=role, content=content,
        calls=tuple(Call(name=call["name"], arguments=call["args"], id=call["id"]) for call in calls),
        name=message.name if role == "tool" else None, call_id=getattr(message, "tool_call_id", None),
    )  # fmt: skip


def conversation_of(messages: Sequence[BaseMessage]) -> Conversation:
    """LangChain's messages as a conversation of `hafs.chat`.

    Raises:
        ProviderError: A message contains something other than text.
    """
    return tuple(Message(role=ROLES.get(message.type, "user"), content=text_of(message)) for message in messages)


def text_of(message: BaseMessage) -> str:
    """The text of a message; tool calls as JSON, one per line.

    Raises:
        ProviderError: The message contains something other than text.
    """
    if isinstance(message.content, list):
        kinds = {part.get("type") for part in message.content if isinstance(part, dict)}
        other = kinds - {"text", "tool_use", "tool_call", "reasoning", "thinking"}
        if other:
            raise ProviderError("rejected", f"the local base reads text only, not {', '.join(sorted(map(str, other)))}")
    text, calls = str(message.text), getattr(message, "tool_calls", None)
    if calls:
        told = [{"name": call["name"], "arguments": call["args"]} for call in calls]
        text = "\n".join([*([text] if text else []), *(json.dumps(call, ensure_ascii=False) for call in told)])
    return text
