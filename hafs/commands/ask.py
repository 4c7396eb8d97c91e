"""Ask the council: a router picks experts, they answer, a synthesizer merges.

    hafs ask "Add an item to ALTTP that uses custom graphics from YAZE"
    hafs ask "Why does this crash?" < trace.txt                   standard input is appended
    hafs ask "..." provider=openai,openrouter,ollama              a failover chain, in this order
    hafs ask "..." expert=asm,debug router=llm                    choose the experts and the router
    hafs ask "..." mixture=triforce-moe                           a registered mixture: its experts and its router
    hafs ask "..." explain=true                                   print scores and plan; call no provider
    hafs ask -c "and in 16-bit mode?"                             continue the last conversation
    hafs ask replay=last provider=openrouter                      ask the last question again, and compare the answers
    hafs ask -- expert=asm is part of this question               after -- every word is part of the question

Words that are not overrides are the question, taken literally. The answer goes to standard output, the receipt to
standard error and to outputs/council/. Exit codes: 0 answered, 2 user error, 69 no provider answered, 1 a bug in hafs.
"""

import sys
from itertools import chain
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hafs.commands.chat import with_continue
from hafs.config import command
from hafs.core.waiting import waiting
from hafs.council.settings import CouncilSettings

if TYPE_CHECKING:
    from hafs.council.chat_model import Council
    from hafs.council.terminal.session import ChatSession


class Settings(CouncilSettings):
    """The command's own keys in `conf/ask.yaml`."""

    question: str | None
    explain: bool
    conversation: str | None
    replay: str | None
    save: bool


def ask(config: DictConfig) -> None:
    """Print the answer to the question.

    Raises:
        ConfigError: There is no question.
        AllProvidersDown: No provider answered.
    """
    if config.replay:
        _replay(config)
        return
    question = with_standard_input(config.question)

    from hafs.config.hydra_command import typed_overrides
    from hafs.config.next_command import chosen_council, say_next
    from hafs.council.assembly import assemble
    from hafs.council.receipt_terminal import show_receipt, show_routing
    from hafs.providers.otel import trace_from_environment

    trace_from_environment()
    council = assemble(config)
    if config.explain:
        show_routing(council, council.route(question))
    else:
        show_receipt(_answer(_session(council, config), question))
        chosen = chosen_council(typed_overrides() or [])
        say_next("serve", *chosen, why="the same behind an OpenAI-compatible endpoint", to=sys.stderr)


def _replay(config: DictConfig) -> None:
    """Ask the question of an earlier answer again with this config, and print both side by side."""
    from rich.console import Console

    from hafs.core.errors import ConfigError
    from hafs.council.assembly import assemble
    from hafs.council.conversations import Conversation, Conversations
    from hafs.council.terminal.session import ChatSession
    from hafs.council.terminal.side_by_side import side_by_side

    if config.question or config.conversation:
        raise ConfigError("replay= asks an earlier question again", hint="leave out the question and conversation=")
    earlier = Conversations().find(config.replay)
    *before, then = earlier.turns
    council = assemble(config)
    session = ChatSession(make=lambda _: council, store=None, conversation=Conversation(turns=before))
    for _ in session.ask(then.question):
        pass
    Console(highlight=False).print(side_by_side(then, session.conversation.turns[-1]))


def with_standard_input(question: str | None) -> str:
    """The question, with standard input appended.

    Raises:
        ConfigError: Both are empty.
        InputError: Standard input is not UTF-8.
    """
    from hafs.core.errors import ConfigError

    piped = "" if sys.stdin is None or sys.stdin.isatty() else _piped()
    parts = [part.strip() for part in (question or "", piped) if part.strip()]
    if not parts:
        raise ConfigError("the question is empty", hint='hafs ask "Why does it crash?" < trace.txt')
    return "\n\n".join(parts)


def _piped() -> str:
    from hafs.core.errors import InputError

    binary = getattr(sys.stdin, "buffer", None)
    if binary is None:
        return sys.stdin.read()
    raw = binary.read()
    try:
        return raw.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input is not UTF-8 text: byte {raw[error.start]:#04x} at offset {error.start}",
            hint="convert it first, e.g. iconv -f LATIN1 -t UTF-8 notes.txt | hafs ask ...",
        ) from None


def _session(council: "Council", config: DictConfig) -> "ChatSession":
    """The conversation that the question continues or begins."""
    from hafs.council.conversations import Conversation, Conversations
    from hafs.council.terminal.session import ChatSession

    store = Conversations() if config.save else None
    begun = (store or Conversations()).open(config.conversation) if config.conversation else Conversation()
    return ChatSession(make=lambda _: council, store=store, conversation=begun)


def _answer(session: "ChatSession", question: str) -> dict:
    """Print the answer while it streams; returns its receipt."""
    written, told = "", iter(session.ask(question))
    with waiting("asking"):
        first = next(told, "")
    try:
        for text in chain([first], told):
            written += text
            sys.stdout.write(text)
            sys.stdout.flush()
    finally:
        if written and not written.endswith("\n"):
            print()
    return session.receipt


_enter = command("ask", ask, description=__doc__ or "", settings=Settings, positional="question")


def main() -> None:
    """Ask; `-c` continues the last conversation."""
    sys.argv[1:] = with_continue(sys.argv[1:])
    _enter()


if __name__ == "__main__":
    main()
