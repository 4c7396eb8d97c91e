"""The assembly sample in asar's dialect: the same rows, with every piece of code translated line by line."""

import re
from dataclasses import replace

from .row import Row

INDEX_OPS = frozenset(("ldx", "ldy", "cpx", "cpy"))
ACCUMULATOR_OPS = frozenset(("lda", "adc", "sbc", "cmp", "and", "ora", "eor", "bit"))
DATA = {"byte": "db", "word": "dw", "addr": "dw", "faraddr": "dl"}
SIZES = {"f": "l", "a": "w", "z": "b"}
SAID = (
    (
        "In ca65 the source bank is written first and the destination bank second.",
        "In asar the destination bank is written first and the source bank second.",
    ),
    ("ca65", "asar"),
    ("`.word`", "`dw`"),
    (" @pairs-1,x", " .pairs-1,x"),
)
"""Sentences about ca65, and what is true of asar."""
_WIDTH = re.compile(r"^\s*\.([ai])(8|16)\s*$")
_MOVE = re.compile(r"^(\s*mv[np])\s+#?(\S+?),\s*#?(\S+)$")
_IMMEDIATE = re.compile(r"^(\s*)(\w{3})\s+#(.*)$")
_SIZED = re.compile(r"^(\s*\w{3})\s+([faz]):(.*)$")


def to_asar(code: str) -> str:
    """The same machine code for asar: data lines, local labels, block moves, and the width of each immediate.

    asar does not follow `.a16`: a 16-bit immediate below $100 would be assembled in 8 bits, without a warning. So every
    immediate of a register says its width.
    """
    widths = {"a": 8, "i": 8}
    lines = []
    parent = re.search(r"^\w+:", code, re.MULTILINE)
    orphan = re.search(r"^@\w+:", code, re.MULTILINE)
    if orphan and (parent is None or orphan.start() < parent.start()):  # a local label needs one that it is local to
        code = code.replace("@", "")
    for line in code.split("\n"):
        if width := _WIDTH.match(line):
            widths[width[1]] = int(width[2])
        else:
            lines.append(_line(line, widths))
    return "\n".join(lines)


def _line(line: str, widths: dict[str, int]) -> str:
    line = re.sub(r"@(\w+)", r".\1", line)
    line = re.sub(
        r"^(\s*(?:\.?\w+:)?\s*)\.(byte|word|addr|faraddr)\b", lambda found: f"{found[1]}{DATA[found[2]]}", line
    )
    if move := _MOVE.match(line):
        return f"{move[1]} {move[3]}, {move[2]}"
    if immediate := _IMMEDIATE.match(line):
        space, name, value = immediate.groups()
        if name in INDEX_OPS | ACCUMULATOR_OPS:
            wide = widths["i" if name in INDEX_OPS else "a"] == 16
            line = f"{space}{name}.{'w' if wide else 'b'} #{value}"
    if sized := _SIZED.match(line):
        line = f"{sized[1]}.{SIZES[sized[2]]} {sized[3]}"
    line = re.sub(r"\^(\.?\w+)", r"bank(\1)", line)
    line = re.sub(r"([#,\s])<(\.?[A-Za-z_]\w*)", r"\1(\2&$FF)", line)
    return re.sub(r"([#,\s])>(\.?[A-Za-z_]\w*)", r"\1(\2>>8&$FF)", line)


def asar_row(row: Row) -> Row:
    """The row for asar: every routine in it translated, and every sentence about the assembler true of asar."""
    texts = sorted({text for text in (row.code, row.broken, row.equal, row.rejected) if text}, key=len, reverse=True)
    shown = {name: getattr(row, name) for name in ("instruction", "input", "output")}
    for text in texts:
        shown = {name: value.replace(text, to_asar(text)) for name, value in shown.items()}
    for ours, theirs in SAID:
        shown = {name: value.replace(ours, theirs) for name, value in shown.items()}
    code = {name: to_asar(getattr(row, name)) for name in ("code", "broken", "equal", "rejected")}
    return replace(row, **shown, **code)
