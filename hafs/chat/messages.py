"""Messages, conversations and rendered token ids: the values of the text path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

TEXT_ROLE = "text"
_LEARNED = ("assistant", TEXT_ROLE)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call."""

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    """JSON values in their original order."""
    id: str | None = None

    def as_row(self) -> dict[str, Any]:
        """The call in OpenAI's format, with the arguments as an object."""
        function = {"name": self.name, "arguments": dict(self.arguments)}
        return ({"id": self.id} if self.id else {}) | {"type": "function", "function": function}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Call":
        """The inverse of `as_row`."""
        return cls(name=row["function"]["name"], arguments=row["function"]["arguments"], id=row.get("id"))


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn: `role` is system, user, assistant, tool, or text for plain text."""

    role: str
    content: str
    learned: bool = True
    """Answers only: whether the loss counts this answer; if not, it is context like a question."""
    reasoning: str = ""
    """Answers only: the reasoning that precedes it."""
    calls: tuple[Call, ...] = ()
    """Answers only: its tool calls."""
    name: str | None = None
    """Tool results only: the tool's name."""
    call_id: str | None = None
    """Tool results only: the id of the call that this result answers."""
    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    """First message only: the tools of the whole conversation, in OpenAI's format."""

    def as_row(self) -> dict[str, Any]:
        """The message in OpenAI's format, plus its `tools`."""
        more = {
            "weight": None if self.learned else 0, "reasoning_content": self.reasoning,
            "tool_calls": [call.as_row() for call in self.calls], "name": self.name, "tool_call_id": self.call_id,
            "tools": list(self.tools),
        }  # fmt: skip
        said = {key: value for key, value in more.items() if value not in (None, "", [])}
        return {"role": self.role, "content": self.content, **said}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Message":
        """The inverse of `as_row`."""
        return cls(
            role=row["role"], content=row["content"], learned=row.get("weight", 1) != 0,
            reasoning=row.get("reasoning_content", ""), calls=tuple(map(Call.of_row, row.get("tool_calls", ()))),
            name=row.get("name"), call_id=row.get("tool_call_id"), tools=tuple(row.get("tools", ())),
        )  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether the message has nothing but a role and content."""
        return (
            self.learned and not self.reasoning and not self.calls and not self.tools
            and self.name is None and self.call_id is None
        )  # fmt: skip

    def as_list(self) -> list[Any]:
        """The message as a compact JSON list."""
        return [self.role, self.content] if self.plain else [self.role, self.content, self.as_row()]

    @classmethod
    def of_list(cls, stored: Sequence[Any]) -> "Message":
        """The inverse of `as_list`."""
        return cls.of_row(stored[2]) if len(stored) > 2 else cls(role=stored[0], content=stored[1])


Conversation: TypeAlias = tuple[Message, ...]


def learned_part(conversation: Conversation) -> Conversation:
    """The conversation up to its last learned answer; the rest cannot be trained on."""
    learned = (
        i for i in range(len(conversation), 0, -1)
        if conversation[i - 1].role in _LEARNED and conversation[i - 1].learned
    )  # fmt: skip
    return conversation[: next(learned, 0)]


class Rendered(NamedTuple):
    """Token ids of one conversation, and whether the loss counts each token."""

    tokens: list[int]
    supervised: list[bool]
