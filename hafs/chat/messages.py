"""Who said what, and what becomes of it: the values that the text path takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

TEXT_ROLE = "text"
_LEARNED = ("assistant", TEXT_ROLE)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn: `role` is system, user, assistant or tool, or text for plain text; `content` is what was said."""

    role: str
    content: str
    learned: bool = True
    """Of an answer: whether the loss counts it; an answer that is not learned is context, like a question."""

    def as_list(self) -> list[Any]:
        """Role and content, and what else there is to say, as plain JSON values."""
        return [self.role, self.content] if self.learned else [self.role, self.content, {"learned": False}]

    @classmethod
    def of_list(cls, stored: Sequence[Any]) -> "Message":
        """The message that `as_list` gave."""
        role, content, *more = stored
        return cls(role=role, content=content, **(more[0] if more else {}))

    def as_row(self) -> dict[str, Any]:
        """The message as the rows of chat data write it."""
        return {"role": self.role, "content": self.content} | ({} if self.learned else {"weight": 0})

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Message":
        """The message that `as_row` gave."""
        return cls(role=row["role"], content=row["content"], learned=bool(row.get("weight", 1)))


Conversation: TypeAlias = tuple[Message, ...]


def learned_part(conversation: Conversation) -> Conversation:
    """The conversation up to its last answer that is learned; what follows it teaches nothing."""
    learned = (i for i in range(len(conversation), 0, -1) if conversation[i - 1].role in _LEARNED
               and conversation[i - 1].learned)  # fmt: skip
    return conversation[: next(learned, 0)]


class Rendered(NamedTuple):
    """Token ids of one conversation, and for each whether the loss counts it."""

    tokens: list[int]
    supervised: list[bool]
