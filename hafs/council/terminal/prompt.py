"""The loop of `hafs chat`: reads a question, prints the answer, runs slash commands."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from hafs.core.errors import HafsError
from hafs.council.receipt_terminal import totals
from hafs.council.terminal.markdown_stream import MarkdownStream
from hafs.council.terminal.session import ChatSession
from hafs.council.terminal.slash_commands import COMMANDS, Again, Leave, run


def converse(session: ChatSession, *, history: Path | None, console: Console | None = None) -> None:
    """Ask and answer until the reader leaves.

    Args:
        session: The conversation.
        history: File of the lines typed so far, for the arrow keys; None: they are forgotten.
        console: Where answers are printed.
    """
    console = console or Console(highlight=False)
    lines = _typed(session, history) if sys.stdin.isatty() else _piped()
    if console.is_terminal:
        console.print("[dim]/help lists the commands; Alt-Enter begins a new line, Ctrl-C stops an answer[/dim]")
    for line in lines:
        try:
            one(session, line, console)
        except Leave:
            break
    if console.is_terminal and session.store is not None and session.conversation.turns:
        console.print(f"[dim]hafs chat conversation={session.conversation.name} continues[/dim]")


def one(session: ChatSession, line: str, console: Console) -> None:
    """Answer one question, or run one slash command. Errors are printed, the conversation goes on.

    Raises:
        Leave: The reader ends the conversation.
    """
    question = line.strip()
    try:
        if question.startswith("/"):
            try:
                console.print(run(session, question), markup=False, style="dim")
                return
            except Again as again:
                question = str(again)
        if question:
            _answer(session, question, console)
    except HafsError as error:
        console.print(str(error), markup=False, style="red")


def _answer(session: ChatSession, question: str, console: Console) -> None:
    answer = session.ask(question)
    try:
        with MarkdownStream(console) as printed:
            for piece in answer:
                printed.feed(piece)
    except KeyboardInterrupt:
        answer.close()
        console.print("[dim]-- stopped[/dim]")
        return
    if console.is_terminal and session.receipt:
        experts = ", ".join(part["name"] for part in session.receipt["experts"])
        console.print(f"-- {experts}: {totals(session.receipt).partition(';')[0]}", markup=False, style="dim")


def _piped() -> Iterator[str]:
    """Each line of standard input is a question."""
    yield from sys.stdin


def _typed(session: ChatSession, history: Path | None) -> Iterator[str]:
    """The lines typed at a prompt; Ctrl-C clears the line, Ctrl-D ends."""
    prompt = _prompt(session, history)
    while True:
        try:
            yield prompt.prompt("> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _prompt(session: ChatSession, history: Path | None) -> Any:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if history is not None:
        history.parent.mkdir(parents=True, exist_ok=True)
    return PromptSession(
        history=FileHistory(str(history)) if history else InMemoryHistory(),
        multiline=True,
        key_bindings=_keys(),
        completer=_completer(session),
        complete_while_typing=True,
        prompt_continuation="  ",
        bottom_toolbar=lambda: _toolbar(session),
    )


def _keys() -> Any:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _completer(session: ChatSession) -> Any:
    from prompt_toolkit.completion import NestedCompleter

    from hafs.config.tree import options

    def words(*names: str) -> dict[str, None]:
        return dict.fromkeys(names)

    known: dict[str, Any] = {f"/{command}": None for command in COMMANDS}
    known["/expert"] = words("auto", *session.whole.panel.experts)
    known["/provider"] = words(*options("provider"))
    if session.store is not None:
        known["/open"] = words("last", *session.store.names()[:50])
    return NestedCompleter.from_nested_dict(known)


def _toolbar(session: ChatSession) -> str:
    spent, _ = session.conversation.cost()
    name = session.conversation.name or "new conversation"
    experts = ", ".join(session.only) or "router chooses"
    return f" {name} | {experts} | {', '.join(session.providers())} | ${spent:.4f} | /help "
