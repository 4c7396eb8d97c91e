"""Read preference rows: a prompt with a better and a worse answer, in TRL's, OpenAI's and LLaMA-Factory's formats."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from hafs.chat import Conversation, Message
from hafs.data.chat_rows import ROLES, read_chat
from hafs.data.decode import UnusableRow

SIDES = {"chosen": "rejected", "preferred_output": "non_preferred_output"}
"""The key of the better answer, and the key of the worse one."""
_ASKED = ("prompt", "instruction", "question", "messages", "conversations")
_MORE = ("input", "context")  # appended to a question
_TOOLS = ("tools", "functions", "parallel_tool_calls")


class PreferenceRow(NamedTuple):
    """A prompt with two answers. Only what differs is learned; common turns are context."""

    format: str
    chosen: Conversation
    rejected: Conversation
    used: tuple[str, ...]
    """Keys of the row that were read."""


def side_of(row: Mapping[str, Any]) -> str | None:
    """The key of the better answer if the row is a preference row."""
    return next((key for key, other in SIDES.items() if row.get(key) is not None and row.get(other) is not None), None)


def read_preference(row: Mapping[str, Any], key: str, unused: list[str], *, reasoning: bool) -> PreferenceRow:
    """Read both answers of a row as conversations.

    Args:
        row: The row.
        key: What `side_of` returned.
        unused: Unused keys of turns are appended to this list.
        reasoning: Whether to keep the reasoning of answers.

    Raises:
        UnusableRow: A turn cannot be read, there is no prompt, or the answers do not differ.
    """
    other, held = SIDES[key], _holder(row)
    asked, used = _prompt(held, own="input" if held is not row else None)
    if asked is None and isinstance(row[key], str):
        raise UnusableRow(
            "missing_field", f"{key!r} is text and there is no 'prompt'; hafs does not guess where it ends"
        )
    sides = [
        read_chat([*_without(asked or [], turns), *turns], each, held, unused, reasoning=reasoning)
        for each, turns in ((each, _turns(row[each], each)) for each in (key, other))
    ]
    chosen, rejected = _compared(sides[0], sides[1], key, other)
    name = "preference" if key == "chosen" else "openai_preference"
    return PreferenceRow(name, chosen, rejected, (key, other, *used, *_TOOLS))


def _holder(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object with the prompt and the tools: the row, or OpenAI's `input`."""
    asked = row.get("input")
    return asked if isinstance(asked, dict) else row


def _prompt(held: Mapping[str, Any], own: str | None) -> tuple[list[Any] | None, tuple[str, ...]]:
    """The turns of the prompt, and the keys that hold them."""
    key = next((key for key in _ASKED if held.get(key) is not None), None)
    if key is None:
        return None, (own,) if own else ()
    value = held[key]
    if isinstance(value, list):
        return value, (own or key,)
    if not isinstance(value, str) or not value.strip():
        raise UnusableRow("wrong_type", f"{key!r} is {type(value).__name__}, expected a question or a list of turns")
    more = [each for each in _MORE if isinstance(held.get(each), str) and held[each].strip() and key != "prompt"]
    text = "\n\n".join([value, *(held[each] for each in more)])
    return [{"role": "user", "content": text}], (key, *(each for each in _MORE if each in held and key != "prompt"))


def _turns(value: Any, key: str) -> list[Any]:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list) and value:
        return value
    raise UnusableRow("wrong_type", f"{key!r} is {type(value).__name__}, expected an answer or a list of turns")


def _without(asked: list[Any], turns: list[Any]) -> list[Any]:
    """The prompt, unless the answer's list repeats it, as many published sets do."""
    first = next((_text(turn) for turn in turns if _role(turn) == "user"), None)
    repeated = first is not None and first in [_text(turn) for turn in asked if _role(turn) == "user"]
    return [] if repeated and len(turns) > len(asked) else asked


def _role(turn: Any) -> str:
    name = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
    return ROLES.get(str(name).strip().lower(), "")


def _text(turn: Any) -> Any:
    return turn.get("content", turn.get("value")) if isinstance(turn, dict) else None


def _compared(chosen: Conversation, rejected: Conversation, key: str, other: str) -> tuple[Conversation, Conversation]:
    common = 0
    while common < min(len(chosen), len(rejected)) and chosen[common] == rejected[common]:
        common += 1
    if common == min(len(chosen), len(rejected)):
        raise UnusableRow("no_difference", f"{key!r} and {other!r} are the same answer")
    if chosen[common].role == "user" or rejected[common].role == "user":
        raise UnusableRow("role_order", f"{key!r} and {other!r} have different prompts")
    return _from(chosen, common), _from(rejected, common)


def _from(conversation: Conversation, start: int) -> Conversation:
    """A conversation whose earlier answers are context."""
    return (*map(_context, conversation[:start]), *conversation[start:])


def _context(message: Message) -> Message:
    return replace(message, learned=False) if message.role == "assistant" else message
