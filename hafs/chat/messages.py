"""Who said what, and what becomes of it: the values that the text path takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

TEXT_ROLE = "text"
_LEARNED = ("assistant", TEXT_ROLE)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a tool."""

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    """As JSON values, in the order in which they were given."""
    id: str | None = None

    def as_row(self) -> dict[str, Any]:
        """The call as rows of chat data and chat templates have it; arguments are an object."""
        function = {"name": self.name, "arguments": dict(self.arguments)}
        return ({"id": self.id} if self.id else {}) | {"type": "function", "function": function}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Call":
        """The call that `as_row` gave."""
        return cls(name=row["function"]["name"], arguments=row["function"]["arguments"], id=row.get("id"))


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn: `role` is system, user, assistant or tool, or text for plain text; `content` is what was said."""

    role: str
    content: str
    learned: bool = True
    """Of an answer: whether the loss counts it; an answer that is not learned is context, like a question."""
    reasoning: str = ""
    """Of an answer: what was thought before it."""
    calls: tuple[Call, ...] = ()
    """Of an answer: the tools that it calls."""
    name: str | None = None
    """Of a tool's result: the tool."""
    call_id: str | None = None
    """Of a tool's result: the call that it answers."""
    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    """Of the first message: the tools that the whole conversation may call, as JSON schemas in OpenAI's form."""

    def as_row(self) -> dict[str, Any]:
        """The message as the rows of chat data write it; `tools`, which such rows have beside it, is in it."""
        more = {
            "weight": None if self.learned else 0, "reasoning_content": self.reasoning,
            "tool_calls": [call.as_row() for call in self.calls], "name": self.name, "tool_call_id": self.call_id,
            "tools": list(self.tools),
        }  # fmt: skip
        said = {key: value for key, value in more.items() if value not in (None, "", [])}
        return {"role": self.role, "content": self.content, **said}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Message":
        """The message that `as_row` gave."""
        return cls(
            role=row["role"], content=row["content"], learned=row.get("weight", 1) != 0,
            reasoning=row.get("reasoning_content", ""), calls=tuple(map(Call.of_row, row.get("tool_calls", ()))),
            name=row.get("name"), call_id=row.get("tool_call_id"), tools=tuple(row.get("tools", ())),
        )  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether role and content say all."""
        return (
            self.learned and not self.reasoning and not self.calls and not self.tools
            and self.name is None and self.call_id is None
        )  # fmt: skip

    def as_list(self) -> list[Any]:
        """Role and content, and what else there is to say, as plain JSON values."""
        return [self.role, self.content] if self.plain else [self.role, self.content, self.as_row()]

    @classmethod
    def of_list(cls, stored: Sequence[Any]) -> "Message":
        """The message that `as_list` gave."""
        return cls.of_row(stored[2]) if len(stored) > 2 else cls(role=stored[0], content=stored[1])


Conversation: TypeAlias = tuple[Message, ...]


def learned_part(conversation: Conversation) -> Conversation:
    """The conversation up to its last answer that is learned; what follows it teaches nothing."""
    learned = (
        i for i in range(len(conversation), 0, -1)
        if conversation[i - 1].role in _LEARNED and conversation[i - 1].learned
    )  # fmt: skip
    return conversation[: next(learned, 0)]


class Rendered(NamedTuple):
    """Token ids of one conversation, and for each whether the loss counts it."""

    tokens: list[int]
    supervised: list[bool]
