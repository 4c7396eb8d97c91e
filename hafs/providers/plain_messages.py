"""LangChain's messages as the plain texts that a local base reads."""

import json
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from hafs.chat import Conversation, Message
from hafs.providers.provider_error import Refused

ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool", "chat": "user", "function": "tool"}


def conversation_of(messages: Sequence[BaseMessage]) -> Conversation:
    """LangChain's messages as a conversation of the text path.

    Raises:
        Refused: A message holds something else than text.
    """
    return tuple(Message(role=ROLES.get(message.type, "user"), content=text_of(message)) for message in messages)


def text_of(message: BaseMessage) -> str:
    """What a message says; calls of tools as JSON, a line each.

    Raises:
        Refused: It holds something else than text.
    """
    if isinstance(message.content, list):
        kinds = {part.get("type") for part in message.content if isinstance(part, dict)}
        other = kinds - {"text", "tool_use", "tool_call", "reasoning", "thinking"}
        if other:
            raise Refused("rejected", f"the local base reads text only, not {', '.join(sorted(map(str, other)))}")
    text, calls = str(message.text), getattr(message, "tool_calls", None)
    if calls:
        told = [{"name": call["name"], "arguments": call["args"]} for call in calls]
        text = "\n".join([*([text] if text else []), *(json.dumps(call, ensure_ascii=False) for call in told)])
    return text
