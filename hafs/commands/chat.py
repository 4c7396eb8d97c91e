"""Talk with the council in the terminal: a conversation that is saved, with slash commands.

    hafs chat                                         a new conversation
    hafs chat provider=openai,openrouter,local        a failover chain, in this order
    hafs chat expert=asm,debug                        choose the experts
    hafs chat conversation=last                       continue the last conversation; -c is short for it
    hafs chat conversation=why-does-this-crash        continue a conversation by its name
    hafs chat save=false                              save nothing on this machine

Enter sends, Alt-Enter begins a new line, Ctrl-C stops the answer, Ctrl-D exits. /help lists the slash commands.
Standard input that is not a terminal is read line by line, one question per line.
Exit codes: 0 done, 2 user error, 1 a bug in hafs.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hafs.config import command, compose
from hafs.config.hydra_command import typed_overrides
from hafs.council.settings import CouncilSettings

if TYPE_CHECKING:
    from hafs.council.chat_model import Council


class Settings(CouncilSettings):
    """The command's own keys in `conf/chat.yaml`."""

    conversation: str | None
    save: bool


def chat(config: DictConfig) -> None:
    """Run the conversation.

    Raises:
        ConfigError: There is no such conversation, expert or provider.
    """
    from hafs.council.assembly import assemble
    from hafs.council.conversations import Conversation, Conversations
    from hafs.council.terminal.prompt import converse
    from hafs.council.terminal.session import ChatSession
    from hafs.providers.otel import trace_from_environment

    trace_from_environment()
    store = Conversations() if config.save else None
    begun = (store or Conversations()).open(config.conversation) if config.conversation else Conversation()

    def make(further: Sequence[str]) -> "Council":
        groups = tuple(f"{word.partition('=')[0]}=" for word in further)
        typed = [word for word in typed_overrides() or [] if not word.startswith(groups)]
        return assemble(compose("chat", [*typed, *further]) if further else config)

    session = ChatSession(make=make, store=store, conversation=begun)
    converse(session, history=store.folder.parent / "chat_history" if store else None)


_enter = command("chat", chat, description=__doc__ or "", settings=Settings)


def main() -> None:
    """Run the conversation; `-c` continues the last one."""
    sys.argv[1:] = with_continue(sys.argv[1:])
    _enter()


def with_continue(arguments: Sequence[str]) -> list[str]:
    """The arguments, with `-c` and `--continue` as an override. Hydra's own `-c` is followed by job, hydra or all."""
    said = []
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        continues = word == "--continue" or (word == "-c" and after not in ("job", "hydra", "all"))
        said.append("conversation=last" if continues else word)
    return said


if __name__ == "__main__":
    main()
