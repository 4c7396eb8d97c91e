"""Read one JSON object as a conversation, in any of the supported formats.

A row is a list of turns, a question with its answer, or plain text. The first key of `CHATS`, `PAIRS` and `text` that
has a value determines the format.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hafs.chat import TEXT_ROLE, Conversation, Message
from hafs.data.chat_rows import REASONING, is_empty, is_reasoning, ordered, read_chat, shown, with_reasoning
from hafs.data.decode import Reject, UnusableRow
from hafs.data.preference_rows import read_preference, side_of
from hafs.data.tool_calls import TOOL_KEYS, call_of, tool_keys, tools_of
from hafs.data.training_marks import reject_unwanted, row_mark_keys
from hafs.data.written_tools import literal, tools_in, turns_of_chat

CHATS = {"messages": "messages", "conversations": "sharegpt", "conversation": "conversation", "dialog": "dialog",
         "dialogue": "dialogue", "chat": "chat"}  # fmt: skip
"""Keys of lists of turns, and the name of the format in reports."""
PAIRS = {
    "instruction": ("output", "response", "completion", "answer"),
    "prompt": ("completion", "response", "output", "answer"),
    "question": ("answer", "response", "output"),
    "query": ("response", "answers", "answer", "output"),
    "problem": ("solution", "answer", "response", "output"),
    "input": ("output", "response", "target", "targets"),
}
"""Keys of questions, and the keys of answers for each; the first existing one is used."""
_NAMES = {("instruction", "output"): "instruction", ("prompt", "completion"): "prompt_completion"}
_MORE = {"instruction": ("input", "context"), "question": ("context",)}  # appended to the question
_SYSTEM = ("system", "system_prompt")


class Parsed(NamedTuple):
    """A row that is a conversation."""

    format: str
    """Name of the format: `messages`, `question/answer`, ..."""
    conversation: Conversation
    metadata: dict[str, Any]
    """All keys of the row that the format does not use."""
    unused: list[str]
    """Keys of the row and of its turns that have a value but are not used."""
    rejected: Conversation | None = None
    """The worse answer of a preference row, with the same prompt."""


class _Read(NamedTuple):
    name: str
    conversation: Conversation
    used: Sequence[str]


def parse(
    row: dict[str, Any], *, system: str | None = None, columns: Mapping[str, str] | None = None, reasoning: bool = True
) -> Parsed | Reject:
    """Detect the format of a row by its keys and read it.

    Args:
        row: One decoded JSON object.
        system: A system message for conversations that have none.
        columns: Maps keys of the row to the keys that hafs reads.
        reasoning: Whether to keep the reasoning of answers.
    """
    if columns:
        named = {key: value for key, value in row.items() if key not in columns and key not in columns.values()}
        row = named | {columns[key]: value for key, value in row.items() if key in columns}
    try:
        if side := side_of(row):
            return _preference(row, side, system, reasoning)
        key = next((key for key in (*CHATS, *PAIRS, "text") if row.get(key) is not None), None)
        if key is None:
            return _unknown(row)
        if reject := reject_unwanted(row, pair=key == "prompt"):
            return reject
        unused: list[str] = []
        name, conversation, used = _read(row, key, unused, reasoning)
        metadata = {each: value for each, value in row.items() if each not in used}
        if metadata:
            unused += _unread(metadata, row_mark_keys(row, pair=key == "prompt"))
        return Parsed(name, _with_system(conversation, system), metadata, unused)
    except UnusableRow as bad:
        return bad.reject


def _preference(row: dict[str, Any], side: str, system: str | None, reasoning: bool) -> Parsed:
    unused: list[str] = []
    read = read_preference(row, side, unused, reasoning=reasoning)
    both = [_with_system(_with_row_system(row, each), system) for each in (read.chosen, read.rejected)]
    metadata = {each: value for each, value in row.items() if each not in (*read.used, *_SYSTEM)}
    return Parsed(read.format, both[0], metadata, [*unused, *_unread(metadata, set())], rejected=both[1])


def _read(row: dict[str, Any], key: str, unused: list[str], reasoning: bool) -> _Read:
    if key == "text":
        return _Read("text", (Message(role=TEXT_ROLE, content=_string(row, "text")),), ("text",))
    if key in CHATS:
        row = _with_written_tools(row)
        value = turns_of_chat(row[key]) if key == "chat" and isinstance(row[key], str) else row[key]
        turns = read_chat(value, key, row, unused, reasoning=reasoning)
        return _Read(CHATS[key], _with_row_system(row, turns), (key, *_SYSTEM, *tool_keys(row)))
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        listed = row["prompt"] + row["completion"]
        turns = read_chat(listed, "prompt/completion", row, unused, reasoning=reasoning)
        return _Read("prompt_completion", _with_row_system(row, turns), ("prompt", "completion", *_SYSTEM, *TOOL_KEYS))
    if key == "input" and isinstance(row["input"], list) and isinstance(row.get("output"), str):
        row = _with_written_tools(row)
        listed = [*row["input"], {"role": "assistant", "content": row["output"]}]
        turns = read_chat(listed, "input/output", row, unused, reasoning=reasoning)
        return _Read("input/output", _with_row_system(row, turns), ("input", "output", *_SYSTEM, *TOOL_KEYS))
    return _pair(row, key, reasoning)


def _with_written_tools(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the tools that its system message lists as text, if it names none itself."""
    for key in _SYSTEM:
        text = row.get(key)
        if isinstance(text, str):
            tools, rest = tools_in(text)
            if tools:
                return row | {key: rest} | ({} if tools_of(row) else {"tools": tools})
            if text.startswith("SYSTEM:"):
                row = row | {key: text.removeprefix("SYSTEM:").strip()}
    return row


def _pair(row: dict[str, Any], key: str, reasoning: bool) -> _Read:
    """A question, its answer and earlier pairs."""
    said = next((each for each in PAIRS[key] if each in row), PAIRS[key][0])
    more = [each for each in _MORE.get(key, ()) if isinstance(row.get(each), str | None) or each == "input"]
    context = [_string(row, each, optional=True) for each in more]
    alone = key == "instruction" and row[key] == "" and any(part.strip() for part in context)
    asked = "\n\n".join(part for part in ("" if alone else _string(row, key), *context) if part.strip())
    turns = [Message(role="user", content=asked), _answer(row, said, reasoning)]
    history, tools = _history(row), tools_of(row)
    conversation = ordered([*history, *turns], tools) if history or tools else tuple(turns)
    thoughts = [each for each in REASONING if is_reasoning(row.get(each))]
    used = (key, said, *more, "history", *thoughts, *_SYSTEM, *TOOL_KEYS)
    return _Read(_NAMES.get((key, said), f"{key}/{said}"), _with_row_system(row, conversation), used)


def _answer(row: dict[str, Any], key: str, reasoning: bool) -> Message:
    """The answer, or the tool calls if it is a list of calls (APIGen's format, also as JSON text)."""
    listed = row.get(key)
    if key == "answers" and isinstance(listed, str):
        try:
            listed = json.loads(listed)
        except (ValueError, RecursionError):
            listed = None
    if key == "answers" and isinstance(listed, list) and listed and all(isinstance(each, dict) for each in listed):
        return Message(role="assistant", content="", calls=tuple(call_of(each, repr(key)) for each in listed))
    return with_reasoning(Message(role="assistant", content=_string(row, key)), row, keep=reasoning)


def _history(row: dict[str, Any]) -> list[Message]:
    """Earlier question-answer pairs."""
    pairs = row.get("history") or []
    if isinstance(pairs, str):
        pairs = literal(pairs)
    fits = isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) and text.strip() for text in pair)
        for pair in pairs
    )
    if not fits:
        raise UnusableRow("wrong_type", "'history' is not a list of question-answer pairs")
    roles = ("user", "assistant")
    return [Message(role=role, content=text) for pair in pairs for role, text in zip(roles, pair, strict=True)]


def _with_row_system(row: dict[str, Any], conversation: Conversation) -> Conversation:
    """Add the row's own system message if the conversation has none."""
    held = row.get("chat_template_kwargs")
    texts = [_string(row, key, optional=True) for key in _SYSTEM]
    texts.append(_string(held, "custom_instructions", optional=True) if isinstance(held, dict) else "")  # SmolTalk 2
    return next((_with_system(conversation, text) for text in texts if text.strip()), conversation)


def _with_system(conversation: Conversation, system: str | None) -> Conversation:
    if not system or conversation[0].role in ("system", TEXT_ROLE):
        return conversation
    first = conversation[0]
    if not first.tools:
        return (Message(role="system", content=system), *conversation)
    led = Message(role="system", content=system, tools=first.tools)
    return (led, replace(first, tools=()), *conversation[1:])


def _unread(metadata: dict[str, Any], read: set[str]) -> list[str]:
    if isinstance(metadata.get("split_group"), str):
        read |= {"split_group"}
    if isinstance(metadata.get("syntax"), str):
        read |= {"syntax"}
    if isinstance(metadata.get("origin"), dict):
        read |= {"origin"}
    return [shown(key) for key, value in metadata.items() if key not in read and not is_empty(value)]


def _unknown(row: dict[str, Any]) -> Reject:
    known = [*CHATS, *PAIRS, "text"]
    for key in known:
        if key in row:
            return Reject("missing_field", f"{key!r} is null")
    words = "'instruction', 'messages', 'conversations', 'prompt' or 'text'"
    close = [(key, match[0]) for key in list(row)[:20] if (match := difflib.get_close_matches(key, known, n=1))]
    hint = f"; did you mean {close[0][1]!r} where it says {close[0][0]!r}?" if close else ""
    return Reject("missing_field", f"no field {words}, got {', '.join(map(repr, list(row)[:5])) or 'none'}{hint}")


def _string(row: Mapping[str, Any], key: str, *, optional: bool = False) -> str:
    value = row.get(key)
    if value is None:
        if optional:
            return ""
        state = "is null" if key in row else "is missing"
        raise UnusableRow("missing_field", f"{key!r} {state}; every sample needs it")
    if not isinstance(value, str):
        raise UnusableRow("wrong_type", f"{key!r} is {type(value).__name__}, expected a string")
    if not optional and not value.strip():
        raise UnusableRow("empty_field", f"{key!r} is empty; every sample needs one")
    return value
