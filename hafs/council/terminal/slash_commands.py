"""The slash commands of `hafs chat`."""

from collections.abc import Callable
from pathlib import Path

from hafs.core import durable
from hafs.core.errors import ConfigError
from hafs.council.conversations import Conversation, Conversations
from hafs.council.receipt_terminal import timeline, totals
from hafs.council.terminal.session import ChatSession

Do = Callable[[ChatSession, str], str]


class Again(Exception):
    """Ask the question in the message."""


class Leave(Exception):
    """End the conversation."""


def expert(session: ChatSession, argument: str) -> str:
    """NAME,... lets only these experts answer; auto: the router chooses."""
    names = [] if argument == "auto" else _names(argument)
    if argument:
        session.choose_experts(names)
    among = ", ".join(session.whole.panel.experts)
    return f"experts: {', '.join(session.only)}" if session.only else f"experts: the router chooses among {among}"


def provider(session: ChatSession, argument: str) -> str:
    """NAME,... asks these providers, in this order."""
    if argument:
        session.choose_providers(_names(argument))
    return f"providers: {', '.join(session.providers())}"


def why(session: ChatSession, argument: str) -> str:
    """Who answered the last question, and the router's scores."""
    routing = session.receipt.get("routing")
    if not routing:
        raise ConfigError("nothing was answered yet")
    scores = ", ".join(f"{name} {score:.2f}" for name, score in routing["scores"].items())
    parts = [f"routed by {routing['decided_by']}: {scores}"]
    for part in session.receipt.get("experts", []):
        asked = "; ".join(f"{each['provider']} {each['model']}: {each['outcome']}" for each in part["attempts"])
        parts.append(f"{part['name']}: {asked}, {part['seconds']:.2f} s")
    return "\n".join([*parts, timeline(session.receipt), totals(session.receipt)])


def cost(session: ChatSession, argument: str) -> str:
    """Tokens and cost of this conversation."""
    known, unknown = session.conversation.cost()
    turns = session.conversation.turns
    read, written = (sum(n for turn in turns if isinstance(n := turn.tokens[side], int)) for side in (0, 1))
    rest = f", and {unknown} answers whose cost is not known" if unknown else ""
    return f"{len(turns)} answers, {read} tokens in, {written} out, ${known:.4f}{rest}"


def save(session: ChatSession, argument: str) -> str:
    """FILE is where the conversation is written as Markdown."""
    if not session.conversation.turns:
        raise ConfigError("nothing was asked yet")
    path = Path(argument or f"{session.conversation.name or 'conversation'}.md").expanduser()
    try:
        durable.write_text(path, session.conversation.markdown())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return f"wrote {path}"


def name(session: ChatSession, argument: str) -> str:
    """NAME becomes the name of the conversation; without one it is shown."""
    if argument:
        _store(session).rename(session.conversation, argument)
        session.save()
    return f"conversation: {session.conversation.name or 'not named yet'}"


def conversations(session: ChatSession, argument: str) -> str:
    """The saved conversations, the latest first."""
    names = _store(session).names()
    return "\n".join(names[:20]) or "no conversation is saved yet"


def open_(session: ChatSession, argument: str) -> str:
    """NAME is the saved conversation to continue; last: the one used last."""
    session.conversation = _store(session).open(argument)
    return f"{session.conversation.name}: {len(session.conversation.turns)} answers so far"


def new(session: ChatSession, argument: str) -> str:
    """Begin another conversation."""
    session.conversation, session.receipt = Conversation(), {}
    return "a new conversation"


def retry(session: ChatSession, argument: str) -> str:
    """Ask the last question again."""
    raise Again(session.undo())


def help_(session: ChatSession, argument: str) -> str:
    """This list."""
    width = max(map(len, COMMANDS))
    lines = [f"  /{each:<{width}}  {command.__doc__}" for each, command in COMMANDS.items()]
    keys = "  Enter sends, Alt-Enter begins a new line, Ctrl-C stops the answer, Ctrl-D exits"
    return "\n".join([*lines, keys])


def quit_(session: ChatSession, argument: str) -> str:
    """Leave; the conversation is saved."""
    raise Leave


COMMANDS: dict[str, Do] = {
    "expert": expert,
    "provider": provider,
    "why": why,
    "cost": cost,
    "save": save,
    "name": name,
    "list": conversations,
    "open": open_,
    "new": new,
    "retry": retry,
    "help": help_,
    "quit": quit_,
}


def run(session: ChatSession, line: str) -> str:
    """Run a line that begins with `/`; returns what to print.

    Raises:
        Again: Ask the question in the message.
        Leave: End the conversation.
        HafsError: The command is not known, or cannot be done.
    """
    from hafs.config.check import did_you_mean

    word, _, rest = line[1:].strip().partition(" ")
    if word not in COMMANDS:
        raise ConfigError(f"there is no command /{word}", hint=did_you_mean(word, list(COMMANDS)))
    return COMMANDS[word](session, rest.strip())


def _names(argument: str) -> list[str]:
    return [each for each in argument.replace(",", " ").split() if each]


def _store(session: ChatSession) -> Conversations:
    if session.store is None:
        raise ConfigError("conversations are not saved", hint="start without save=false")
    return session.store
