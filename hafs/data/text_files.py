"""Sources and manuals as rows of plain text, for continued pre-training: cut at borders of routines and sections.

A file becomes pieces of at most `max_length` tokens. A piece ends where a routine or section ends, if one does within
it; else at an empty line; else at a line's end.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hafs.data.sources import Line, refuse_wide

SUFFIXES = (
    ".asm", ".s", ".65s", ".a65", ".inc", ".i", ".mac", ".md", ".rst", ".txt", ".adoc", ".c", ".h", ".cc", ".cpp",
    ".hpp",
    ".py", ".lua", ".js", ".ts", ".go", ".rs", ".java", ".cfg", ".ini", ".toml", ".yaml", ".yml", ".html", ".tex",
)  # fmt: skip
"""Endings of text files, by which the files of a folder are chosen."""
_BORDERS = {
    "assembly": r"[a-z_]\w*:(?!:)|;[ ;=*#~-]{3,}|\.?(?:proc|macro|scope|segment|org|namespace)\b",
    "prose": r"#{1,6} |={3,}|-{3,}|<h[1-6]",
    "code": r"(?:def|class|async def|fn|func|function|pub|impl|static|int|void|struct) |@|//[-=]{3,}",
}
_KINDS = {
    **dict.fromkeys((".asm", ".s", ".65s", ".a65", ".inc", ".i", ".mac"), "assembly"),
    **dict.fromkeys((".md", ".rst", ".txt", ".adoc", ".html", ".tex"), "prose"),
}
_LONGEST_LINE = 2000  # characters; longer ones are cut, as in generated files
Count = Callable[[Sequence[str]], list[int]]
"""The number of tokens of each text."""


class Piece(NamedTuple):
    """Consecutive lines of a file."""

    line: int
    """Number of the first one, from 1."""
    text: str


def text_lines(path: Path, count: Count, max_tokens: int, *, group: bool) -> Iterator[Line]:
    """The pieces of a file as rows `{"text": ...}`.

    Args:
        path: A UTF-8 file.
        count: Counts tokens.
        max_tokens: Longest piece.
        group: Whether all pieces of the file stay in one split.

    Raises:
        FileProblem: The file is UTF-16 or UTF-32.
    """
    raw = path.read_bytes()
    refuse_wide(raw[:256])
    text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\r\n", "\n")
    for piece in pieces(text, path.suffix.lower(), count, max_tokens):
        row = {"text": piece.text} | ({"split_group": str(path)} if group else {})
        line = json.dumps(row, ensure_ascii=False).encode()
        yield Line(piece.line, line, len(line), True)


def pieces(text: str, suffix: str, count: Count, max_tokens: int) -> list[Piece]:
    """Cut a text at borders, each piece as long as possible."""
    lines = [part for line in text.splitlines(keepends=True) for part in _parts(line)]
    ranks = _ranks(lines, re.compile(_BORDERS[_KINDS.get(suffix, "code")], re.IGNORECASE))
    tokens = count(lines)
    found, start, number = [], 0, 1
    while start < len(lines):
        stop = _stop(ranks, tokens, start, max_tokens)
        piece = "".join(lines[start:stop])
        if piece.strip():
            found.append(Piece(number, piece))
        number += piece.count("\n")
        start = stop
    return found


def _parts(line: str) -> list[str]:
    return [line[at : at + _LONGEST_LINE] for at in range(0, len(line), _LONGEST_LINE)]


def _ranks(lines: Sequence[str], border: re.Pattern[str]) -> list[int]:
    """The rank of each line as the start of a piece: 2 a routine or section, 1 after an empty line, 0 anywhere else.

    Comments directly above a routine belong to it.
    """
    ranks = [0] * len(lines)
    for at, line in enumerate(lines):
        if border.match(line):
            top = at
            while top and lines[top - 1].lstrip()[:1] in (";", "/") and not border.match(lines[top - 1]):
                top -= 1
            ranks[top] = 2
        elif at and not lines[at - 1].strip():
            ranks[at] = max(ranks[at], 1)
    return ranks


def _stop(ranks: Sequence[int], tokens: Sequence[int], start: int, max_tokens: int) -> int:
    """Where the piece that begins at `start` ends."""
    total, best, far = tokens[start], {0: start + 1}, start + 1
    while far < len(ranks):
        best[ranks[far]] = far
        total += tokens[far]
        if total > max_tokens:
            return best.get(2) or best.get(1) or best[0]
        far += 1
    return far
