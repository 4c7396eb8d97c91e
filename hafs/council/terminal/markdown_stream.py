"""Prints an answer as Markdown while it arrives.

Finished blocks (paragraphs, lists, fenced code) are printed once and stay in the terminal's scrollback; only the block
that still grows is redrawn. An answer therefore may be longer than the screen.
"""

import re
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.spinner import Spinner
from rich.text import Text

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
REDRAWS_PER_SECOND = 10


def split_blocks(text: str) -> tuple[list[str], str]:
    """The finished blocks of a growing Markdown text, and the rest.

    A block ends at an empty line outside of fenced code, or with the fence that closes it. Lists stay whole, because
    their numbers continue: an indented line or another item after an empty line belongs to them.
    """
    blocks: list[str] = []
    lines = text.split("\n")
    block: list[str] = []
    fence = ""
    for line in lines[:-1]:  # the last line may still grow
        found = _FENCE.fullmatch(line)
        block.append(line)
        if fence:
            if found and found[1][0] == fence[0] and len(found[1]) >= len(fence) and not found[2].strip():
                blocks.append("\n".join(block))
                block, fence = [], ""
        elif found:
            if len(block) > 1 and "\n".join(block[:-1]).strip():
                blocks.append("\n".join(block[:-1]))
                block = block[-1:]
            fence = found[1]
        elif not line.strip() and "\n".join(block).strip() and not _is_list(block):
            blocks.append("\n".join(block))
            block = []
    return blocks, "\n".join([*block, lines[-1]])


def _is_list(block: list[str]) -> bool:
    first = next(line for line in block if line.strip())
    return bool(re.match(r" {0,3}([-*+]|\d+[.)])\s", first)) and len(block) < 200


class MarkdownStream:
    """Prints the pieces of one answer; a context manager.

    Args:
        console: Where it is printed; without a terminal, the plain text is written as it arrives.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.text = ""
        self._live: Live | None = None

    def __enter__(self) -> "MarkdownStream":
        if self.console.is_terminal:
            self._live = Live(
                Spinner("dots", Text("thinking", style="dim")), console=self.console, transient=True,
                refresh_per_second=REDRAWS_PER_SECOND, vertical_overflow="crop",
            )  # fmt: skip
            self._live.start()
        return self

    def feed(self, piece: str) -> None:
        """Print another piece."""
        if self._live is None:
            self.console.file.write(piece)
            self.console.file.flush()
            self.text += piece
            return
        blocks, self.text = split_blocks(self.text + piece)
        for block in blocks:
            self._live.console.print(_rendered(block))
        self._live.update(_tail(self.text, self.console.height - 2))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            if self.text.strip():
                self.console.print(_rendered(self.text))
        elif self.text and not self.text.endswith("\n"):
            self.console.file.write("\n")


def _rendered(block: str) -> RenderableType:
    return Group(Markdown(block.strip("\n"), code_theme="ansi_dark"), Text())


def _tail(text: str, lines: int) -> RenderableType:
    """The end of the growing block that fits on the screen."""
    shown = text.split("\n")
    if len(shown) <= lines:
        return Markdown(text, code_theme="ansi_dark")
    opened = _FENCE.match(shown[0])
    head = [shown[0]] if opened else []
    return Markdown("\n".join([*head, *shown[-lines + len(head) :]]), code_theme="ansi_dark")
