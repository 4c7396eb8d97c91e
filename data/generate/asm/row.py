"""One row of the assembly sample with the facts that can be checked about it, and how code and answers are laid out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..dice import Dice
from ..emulate import Run, Screen

INDENT = "  "
_FLUSH = re.compile(r"^(@?\w*:|\w+\s*=\s.*|\.(proc|endproc|scope|endscope)\b.*)$")
_WIDTH = re.compile(r"^(rep|sep)\s+#\$([0-9a-fA-F]{2})\b")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A prompt, its answer, and what a checker may run."""

    instruction: str
    output: str
    input: str = ""
    code: str = ""
    """The correct routine, wherever the row shows it; empty for rows of arithmetic alone."""
    broken: str = ""
    """A routine with a fault that the row is about: it must fail at least one of the runs."""
    equal: str = ""
    """Another routine that must pass the same runs."""
    encoded: bytes = b""
    """The machine code of `code`, where the row states it."""
    size: int | None = None
    """The length of `code` in bytes, where the row states it."""
    rejected: str = ""
    """Code that the row says the assembler refuses."""
    runs: tuple[Run, ...] = ()
    """What the correct routine does, to be run in the emulator."""
    family: str = ""
    """The kind of row, by the name of its function; `build` fills it in."""


Family = Callable[[Dice], Row]
FAMILIES: dict[str, Family] = {}
"""Every kind of row by name, in the order of definition."""


def family(build: Family) -> Family:
    """Register a kind of row under the name of its function."""
    if build.__name__ in FAMILIES:
        raise ValueError(f"family {build.__name__!r} is defined twice")
    FAMILIES[build.__name__] = build
    return build


def asm(text: str) -> str:
    """Lay out code: labels at the margin, instructions indented, `.a8`/`.i16` lines after every rep and sep.

    Lines are separated by newlines or by ` | `.
    """
    lines: list[str] = []
    for piece in text.replace(" | ", "\n").split("\n"):
        line = piece.strip()
        if not line:
            continue
        lines.append(line if _FLUSH.match(line) else INDENT + line)
        width = _WIDTH.match(line)
        if width:
            bits, size = int(width[2], 16), "16" if width[1] == "rep" else "8"
            lines += [f"{INDENT}.{letter}{size}" for letter, bit in (("a", 0x20), ("i", 0x10)) if bits & bit]
    return "\n".join(lines)


def answer(code: str, *sentences: str) -> str:
    """A fenced block of code followed by its explanation."""
    return f"```asm\n{code}\n```\n" + " ".join(sentences)


def say(d: Dice, always: Sequence[str], maybe: Sequence[str] = (), least: int = 0, most: int = 2) -> list[str]:
    """The sentences that belong, then some of those that may be added."""
    return [*always, *d.some(maybe, d.between(least, min(most, len(maybe))))]


def routine(
    d: Dice, ask: Sequence[str], code: str, always: Sequence[str], maybe: Sequence[str] = (), runs: Sequence[Run] = ()
) -> Row:
    """The usual row: one of several wordings of a request, a routine, and some sentences about it."""
    body = asm(code)
    return Row(instruction=d.of(ask), output=answer(body, *say(d, always, maybe)), code=body, runs=tuple(runs))


def repair(
    d: Dice,
    complaint: Sequence[str],
    wrong: str,
    right: str,
    always: Sequence[str],
    maybe: Sequence[str] = (),
    runs: Sequence[Run] = (),
    *,
    refused: bool = False,
) -> Row:
    """A row with a faulty routine in its input and the corrected one, with the reason, as its answer."""
    bad, good = asm(wrong), asm(right)
    ask = d.pick("Fix it.", "What is wrong?", "Find the bug.", "Correct the code.", "Please repair it.", "Why?")
    return Row(
        instruction=f"{d.of(complaint)} {ask}",
        input=bad,
        output=answer(good, *say(d, always, maybe, most=1)),
        code=good,
        broken="" if refused else bad,
        rejected=bad if refused else "",
        runs=tuple(runs),
    )


BLANKS: tuple[tuple[str, Screen], ...] = (
    ("It is called in vertical blank.", "vblank"), ("The NMI handler calls it.", "vblank"),
    ("The screen is off when it is called.", "off"), ("It runs in forced blank.", "off"),
)  # fmt: skip


def blanked(d: Dice, row: Row) -> Row:
    """The row with a word about when it runs: with the screen on, the video chip does not take writes."""
    words, screen = d.of(BLANKS)
    runs = tuple(replace(run, screen=screen) for run in row.runs)
    return replace(row, instruction=f"{row.instruction} {words}", runs=runs)


def label(d: Dice, *words: str) -> str:
    """A label in one of three spellings: FillPage, fill_page or Fill_Page."""
    style = d.between(0, 2)
    if style == 0:
        return "".join(word.capitalize() for word in words)
    return "_".join(words) if style == 1 else "_".join(word.capitalize() for word in words)


def loop(d: Dice) -> str:
    """A name for a local label."""
    return d.pick("@loop", "@next", "@again", "@step", "@more")


def leave(d: Dice) -> str:
    """How a routine returns: rts for callers in the same bank, rtl for jsl callers."""
    return d.pick("rts", "rtl")


def le(value: int, count: int = 2) -> bytes:
    """A number as little-endian bytes."""
    return (value & (1 << 8 * count) - 1).to_bytes(count, "little")


def words(*values: int) -> bytes:
    """Numbers as little-endian 16-bit words."""
    return b"".join(le(value) for value in values)


def x2(value: int) -> str:
    """A byte as `$1F`."""
    return f"${value:02X}"


def x4(value: int) -> str:
    """A word as `$1F00`."""
    return f"${value:04X}"


def x6(value: int) -> str:
    """A 24-bit address as `$7E1F00`."""
    return f"${value:06X}"
