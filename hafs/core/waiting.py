"""A spinner with a label while a command is silent: loading, reading, measuring."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_shown: list[str] = []
"""The label on the terminal; a spinner within another one shows nothing of its own."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner on standard error until the block ends; nothing where that is not a terminal.

    Lines that the block prints appear above it.

    Args:
        what: What is being done, as `loading the model`.
    """
    if _shown or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    spinner, both = Spinner("dots", text=what), sys.stdout.isatty()  # redirected output must reach its file
    _shown.append(what)
    try:
        with Live(
            spinner, console=Console(stderr=True), transient=True, redirect_stdout=both, redirect_stderr=True,
            refresh_per_second=8,
        ):  # fmt: skip
            yield
    finally:
        _shown.clear()
