"""Code in an answer as people write it: in fences of any name and indentation, or as lines without a fence."""

import re
from collections.abc import Iterator
from textwrap import dedent

LANGUAGES = ("", "asm", "assembly", "65816", "65c816", "65c02", "6502", "ca65", "asar", "xkas", "snes", "s", "wla")
"""Names of fences around assembly, in lower case; a block of another language is no assembly."""
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$")
_MNEMONICS = (
    "adc|and|asl|bcc|bcs|beq|bge|bit|blt|bmi|bne|bpl|bra|brk|brl|bvc|bvs|clc|cld|cli|clv|cmp|cop|cpx|cpy|"
    "dec|dex|dey|eor|inc|inx|iny|jml|jmp|jsl|jsr|lda|ldx|ldy|lsr|mvn|mvp|nop|ora|pea|pei|per|pha|phb|phd|"
    "phk|php|phx|phy|pla|plb|pld|plp|plx|ply|rep|rol|ror|rti|rtl|rts|sbc|sec|sed|sei|sep|sta|stp|stx|sty|"
    "stz|tax|tay|tcd|tcs|tdc|trb|tsb|tsc|tsx|txa|txs|txy|tya|tyx|wai|wdm|xba|xce"
)
_LABEL = r"(?:[@.!?]?[A-Za-z_]\w*:|\.\w+|[+-]+)"
_OPERAND = r"[^\s;]+(?:\s*[-,+*/|&^<>]\s*[^\s;]+)*"
_LINE = re.compile(rf"^\s*(?:{_LABEL}\s*)?(?:{_MNEMONICS})(?:\.[bwl])?(?:\s+{_OPERAND})?\s*(?:;.*)?$", re.IGNORECASE)
_BESIDE = re.compile(
    rf"^\s*(?:;.*|{_LABEL}\s*(?:;.*)?|!\w+\s*=.*|\w+\s*=\s*[$%!\w]+.*|\.\w+\b.*|(?:org|d[bwl]|lorom|hirom|pushpc|pullpc)\b.*)$",
    re.IGNORECASE,
)


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a text: the name of the fence in lower case, and what stands in it; the last may be open."""
    found: list[tuple[str, str]] = []
    mark, name, body = "", "", []
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence and not mark:
            mark, name, body = fence[1], fence[2].lower(), []
        elif fence and fence[1].startswith(mark) and not fence[2]:
            found.append((name, dedent("\n".join(body)) + "\n"))
            mark = ""
        elif mark:
            body.append(line)
    return [*found, (name, dedent("\n".join(body)) + "\n")] if mark else found


def bare_code(text: str) -> str:
    """Runs of at least two instructions that stand in a text without a fence."""
    return "\n".join(_runs(text.splitlines()))


def _runs(lines: list[str]) -> Iterator[str]:
    held: list[str] = []
    for line in [*lines, "the end"]:
        if _LINE.match(line) or _BESIDE.match(line) or (held and not line.strip()):
            held.append(line)
            continue
        if sum(bool(_LINE.match(each)) for each in held) >= 2:
            yield dedent("\n".join(held)).strip("\n") + "\n"
        held = []
