"""The state of a conversation with the council: messages, chosen experts and providers, cost."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.messages import HumanMessage

from hafs.core.errors import ConfigError
from hafs.council.chat_model import Council
from hafs.council.conversations import Conversation, Conversations, Turn

Make = Callable[[Sequence[str]], Council]
"""Builds the council for further overrides."""


@dataclass
class ChatSession:
    """One conversation.

    Args:
        make: Builds the council; called again when the providers change.
        store: Where the conversation is saved; None: it is not.
        conversation: The one to continue.
    """

    make: Make
    store: Conversations | None
    conversation: Conversation = field(default_factory=Conversation)
    only: tuple[str, ...] = ()
    """Experts that may answer; empty: all, the router decides."""
    receipt: dict[str, Any] = field(default_factory=dict)
    """Of the last answer."""

    def __post_init__(self) -> None:
        self.whole = self.make([])

    @property
    def council(self) -> Council:
        """The council, limited to the chosen experts."""
        if not self.only:
            return self.whole
        experts = {name: self.whole.panel.experts[name] for name in self.only}
        default = self.whole.panel.default if self.whole.panel.default in experts else self.only[0]
        return self.whole.model_copy(update={"panel": replace(self.whole.panel, experts=experts, default=default)})

    def ask(self, question: str) -> Generator[str]:
        """The pieces of the answer; the turn is kept when they end, also if the reader stops them.

        Raises:
            HafsError: No provider answered; the conversation is as before.
        """
        pieces: list[str] = []
        self.receipt = {}
        complete = False
        try:
            chunks: Any = self.council.stream([*self.conversation.messages(), HumanMessage(question)])
            with closing(chunks) as stream:
                for chunk in stream:
                    self.receipt = chunk.response_metadata.get("receipt", self.receipt)
                    if text := str(chunk.text):
                        pieces.append(text)
                        yield text
            complete = True
        except (GeneratorExit, KeyboardInterrupt):
            self._keep(question, "".join(pieces), stopped=True)
            raise
        if complete:
            self._keep(question, "".join(pieces))

    def _keep(self, question: str, answer: str, *, stopped: bool = False) -> None:
        if not answer.strip():
            return
        told = self.receipt
        experts = tuple(part["name"] for part in told.get("experts", []) if part["outcome"] == "answered")
        tokens = (told.get("input_tokens", "unknown"), told.get("output_tokens", "unknown"))
        self.conversation.turns.append(
            Turn(
                question=question, answer=answer, experts=experts, cost=told.get("cost", "unknown"), tokens=tokens,
                seconds=told.get("seconds", "unknown"), receipt=told.get("id", ""), stopped=stopped,
            )
        )  # fmt: skip
        self.save()

    def save(self) -> None:
        """Write the conversation, if conversations are kept."""
        if self.store is not None:
            self.store.save(self.conversation)

    def choose_experts(self, names: Sequence[str]) -> None:
        """Let only these experts answer; none: the router chooses among all.

        Raises:
            ConfigError: There is no such expert.
        """
        known = list(self.whole.panel.experts)
        for name in names:
            if name not in known:
                raise ConfigError(f"there is no expert {name!r} in this council", hint=f"/expert {', '.join(known)}")
        self.only = tuple(names)

    def choose_providers(self, names: Sequence[str]) -> None:
        """Ask these providers from now on, in this order.

        Raises:
            ConfigError: There is no such provider, or it cannot be used.
        """
        self.whole = self.make([f"provider=[{','.join(names)}]"])

    def providers(self) -> list[str]:
        """The names of the providers, in order."""
        return [provider.name for provider in self.whole.providers]

    def undo(self) -> str:
        """Remove the last turn; returns its question.

        Raises:
            ConfigError: There is none.
        """
        if not self.conversation.turns:
            raise ConfigError("nothing was asked yet")
        return self.conversation.turns.pop().question
