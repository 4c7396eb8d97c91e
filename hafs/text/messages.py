"""Who said what, and what becomes of it: the values that the text path takes and gives."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

TEXT_ROLE = "text"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn: `role` is system, user, assistant or tool, or text for plain text; `content` is what was said."""

    role: str
    content: str


Conversation: TypeAlias = tuple[Message, ...]


class Rendered(NamedTuple):
    """Token ids of one conversation, and for each whether the loss counts it."""

    tokens: list[int]
    supervised: list[bool]
