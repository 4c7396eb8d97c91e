"""Conversations whose token ids every export must give as training did."""

from typing import Any

from hafs.chat import Call, Conversation, Message, render
from hafs.chat.template import Template
from hafs.core.errors import HafsError


def _of(*turns: tuple[str, str]) -> Conversation:
    return tuple(Message(role=role, content=content) for role, content in turns)


GOLDEN = (
    _of(("user", "What does JSL do?")),
    _of(("system", "You write 65816 assembly."), ("user", "Clear A.")),
    _of(("user", "Hi"), ("assistant", "Hello."), ("user", "REP #$30 ; what now?")),
    _of(("system", "Short."), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")),
    _of(("user", "LDA.w #$0F00\n\tSTA $7E0010,x ; naïve 你好 \u200b 🗡️\r\n  end")),
    _of(("user", 'don\'t 12345 3.14 0x7F {"a": [1, 2]} <tag> `code`\n```asm\nrtl\n```')),
)
"""Each ends where an answer is due."""

_TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "function": {
        "name": "find_tile", "description": "Find all places of a tile.", "parameters": {
            "type": "object", "required": ["tile"], "properties": {
                "tile": {"type": "string", "description": "tile in hex"}, "limit": {"type": "integer"}}}}},
    {"type": "function", "function": {
        "name": "list_rooms", "description": "List the rooms.", "parameters": {"type": "object", "properties": {}}}},
)  # fmt: skip


def _calling(*turns: Message) -> Conversation:
    return (Message(role="user", content="Where is tile 0x02E?", tools=_TOOLS), *turns)


_CALL = Call(name="find_tile", arguments={"tile": "0x02E", "limit": 3}, id="call00000")
_RESULT = Message(role="tool", content='{"matches": [{"map": "0x03", "x": 4}]}', name="find_tile", call_id="call00000")
_CALLED = Message(role="assistant", content="", calls=(_CALL,))
_CALLING = (
    _calling(),
    _calling(_CALLED, _RESULT),
    _calling(
        _CALLED, _RESULT, Message(role="assistant", content="On map 0x03."), Message(role="user", content="And 7?")
    ),
)


def with_tools(tokenizer: Any) -> list[Conversation]:
    """Conversations with tools, calls and results that the template renders, each ending where an answer is due.

    If the template knows no tools, they are text of the messages, as in training.
    """
    template, found = Template(tokenizer), []
    for conversation in _CALLING:
        try:
            render(tokenizer, conversation, for_generation=True)
        except HafsError:
            continue
        found.append(template.with_prompted_tools(conversation))
    return found
