"""Conversations on disk: one file each, `$HAFS_STATE/conversations/NAME.json`, replaced after every answer."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from hafs.core import durable, records
from hafs.core.errors import ConfigError
from hafs.core.state import state_folder

KEPT = 500
"""Conversations that are kept; the ones that were used longest ago are deleted first."""
LONGEST_NAME = 40
LAST = "last"
"""Stands for the conversation that was used last."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str
    experts: tuple[str, ...] = ()
    """Who answered."""
    cost: float | str = "unknown"
    """In US dollars, or `unknown`."""
    tokens: tuple[int | str, int | str] = ("unknown", "unknown")
    """Input and output tokens, each a number or `unknown`."""
    seconds: float | str = "unknown"
    """How long the answer took."""
    receipt: str = ""
    """The id of its receipt."""
    stopped: bool = False
    """Whether the reader stopped the answer."""


@dataclass
class Conversation:
    """The turns so far, oldest first."""

    name: str = ""
    """Empty until the first question names it."""
    turns: list[Turn] = field(default_factory=list)

    def messages(self) -> list[BaseMessage]:
        """The turns as LangChain messages."""
        pairs = [(HumanMessage(turn.question), AIMessage(turn.answer)) for turn in self.turns]
        return [message for pair in pairs for message in pair]

    def markdown(self) -> str:
        """The conversation as a document."""
        parts = [f"# {self.name or 'conversation'}"]
        for turn in self.turns:
            who = ", ".join(turn.experts) or "hafs"
            note = "\n\n*(stopped)*" if turn.stopped else ""
            parts += [f"## You\n\n{turn.question}", f"## {who}\n\n{turn.answer}{note}"]
        return "\n\n".join(parts) + "\n"

    def cost(self) -> tuple[float, int]:
        """The known cost in US dollars, and the number of answers whose cost is not known."""
        known = [turn.cost for turn in self.turns if isinstance(turn.cost, int | float)]
        return sum(known), len(self.turns) - len(known)


class Conversations:
    """The folder of the conversations.

    Args:
        folder: None: that of this user.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder() / "conversations"

    def names(self) -> list[str]:
        """All names, the one used last first."""
        files = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [path.stem for path in files]

    def open(self, name: str) -> Conversation:
        """A conversation by its name; `last` is the one used last.

        Raises:
            ConfigError: There is none of that name, or its file is damaged.
        """
        names = self.names()
        if name == LAST and names:
            name = names[0]
        if name not in names:
            known = f"there are: {', '.join(names[:8])}" if names else "ask a question first"
            raise ConfigError(f"there is no conversation {name!r}", hint=known)
        try:
            facts = records.read_record(self._path(name)) or {}
            return Conversation(name, [_turn(each) for each in facts.get("turns", [])])
        except (durable.Damaged, TypeError) as error:
            raise ConfigError(f"the conversation {name!r} cannot be read: {error}", hint="begin another one") from error

    def find(self, receipt: str) -> Conversation:
        """The conversation up to and with the answer that has this receipt.

        Args:
            receipt: Its id, or the path of its file; `last`: the last answer of the conversation used last.

        Raises:
            ConfigError: No saved conversation has it.
        """
        wanted = Path(receipt).stem.rpartition("-")[2]
        for name in self.names():
            found = self.open(name)
            for number, turn in enumerate(found.turns, 1):
                if turn.receipt == wanted or (receipt == LAST and number == len(found.turns)):
                    return Conversation(name, found.turns[:number])
        raise ConfigError(
            f"no saved conversation has the receipt {receipt!r}",
            hint="receipts hold no text, so only answers of hafs ask and hafs chat that were saved can be asked again",
        )

    def save(self, conversation: Conversation) -> None:
        """Write a conversation; a new one gets its name from its first question.

        Raises:
            OSError: The folder cannot be written.
        """
        if not conversation.turns:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not conversation.name:
            conversation.name = self._free(slug(conversation.turns[0].question))
        records.write_record(self._path(conversation.name), {"turns": [asdict(turn) for turn in conversation.turns]})
        for name in self.names()[KEPT:]:
            self._path(name).unlink(missing_ok=True)

    def rename(self, conversation: Conversation, name: str) -> None:
        """Give a conversation another name.

        Raises:
            ConfigError: The name is taken or has no letter or digit.
        """
        wanted = slug(name, fallback="")
        if not wanted or wanted == LAST:
            raise ConfigError(f"{name!r} cannot be the name of a conversation", hint="use letters, digits and -")
        if wanted in self.names():
            raise ConfigError(f"there is a conversation {wanted!r} already", hint=f"/open {wanted}")
        if conversation.name and self._path(conversation.name).exists():
            self._path(conversation.name).rename(self._path(wanted))
        conversation.name = wanted

    def _free(self, name: str) -> str:
        taken = set(self.names())
        numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
        return next(each for each in (name, *numbered) if each not in taken and each != LAST)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _turn(facts: Mapping[str, Any]) -> Turn:
    return Turn(**{**facts, "experts": tuple(facts["experts"]), "tokens": tuple(facts["tokens"])})


def slug(text: str, fallback: str = "conversation") -> str:
    """A file name from the first words of a text."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    name = ""
    for word in words:
        if len(name) + len(word) >= LONGEST_NAME:
            break
        name = f"{name}-{word}" if name else word
    return name or fallback
