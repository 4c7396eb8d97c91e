"""Applies the fix that a diagnosis proposes to the code that its prompt shows.

A fix names code in backticks and says where it goes: "put `clc` in front of the adc", "use `bpl` instead of `bne`",
"start with `ldx #5`", "write `jsr $0D74`" for the line that the assembler complains about. Of alternatives the first
counts. A fix that says something else cannot be applied.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_SPAN = re.compile(r"`([^`]*)`")
_LINE = re.compile(r"\((\d+)\): Error")
_INSTRUCTION = re.compile(r"^\s*(?:[a-z]{3}|\.[a-z]\w*)\b(?!:)", re.MULTILINE)
_SPANS = r"(?P<spans><\d+>(?:(?:, then |, | and |,? then )<\d+>)*)"
_INSERT = re.compile(
    rf"(?:(?P<count>two|three|four) )?{_SPANS}(?: \([^)]*\))? (?P<where>in front of|before|above|after|first\b|"
    rf"as the first line|at the start|at the end)(?: the)?(?: (?P<target><\d+>|\w+))?"
)
_INSTEAD = re.compile(rf"{_SPANS} instead of (?:the )?(?P<target><\d+>|\w+)")
_REPLACE = re.compile(rf"replace (?:the )?(?P<target><\d+>|\w+)(?: in line \d+)? (?:by|with) {_SPANS}")
_REMOVE = re.compile(r"(?:remove|delete|drop) (?:one |the )?(?P<target><\d+>)")
_WRITE = re.compile(rf"(?:write|use|start with|with 8-bit A:|call) {_SPANS}")
_END_OF_FIRST = re.compile(r"; |,? or |, which |\.$")
_COUNTS = {"two": 2, "three": 3, "four": 4}
_FIRST = ("first", "as the first line", "at the start")


class _Broken(NamedTuple):
    """The code of a prompt."""

    lines: list[str]
    fault: int | None
    """Place of the line that the assembler complains about."""


def repaired(prompt: str, fix: str) -> str:
    """The code after a fix; empty if the prompt shows none, or the fix cannot be applied.

    Args:
        prompt: A message or a dump, and code, with an empty line between them.
        fix: A sentence of a diagnosis.
    """
    broken, spans = _shown(prompt), _SPAN.findall(fix)
    if not broken.lines or not spans:
        return ""
    numbers = iter(range(len(spans)))
    said = _END_OF_FIRST.split(_SPAN.sub(lambda _: f"<{next(numbers)}>", fix))[0]
    lines = _changed(broken, said, spans)
    same = [line.strip() for line in lines] == [line.strip() for line in broken.lines]
    return "" if same else "\n".join(lines)


def _shown(prompt: str) -> _Broken:
    """The part of a prompt with the most instructions."""
    parts = [part.strip("\n").split("\n") for part in re.split(r"\n\s*\n", prompt)]
    found = max(parts, key=lambda lines: len(_INSTRUCTION.findall("\n".join(lines))))
    if not _INSTRUCTION.search("\n".join(found)):
        return _Broken([], None)
    line = _LINE.search(prompt)
    fault = int(line[1]) - 1 if line and int(line[1]) <= len(found) else None
    return _Broken(found, fault)


def _changed(broken: _Broken, said: str, spans: Sequence[str]) -> list[str]:
    """The lines after the change that a sentence describes; none where it describes no change."""
    if found := (_INSTEAD.search(said) or _REPLACE.search(said)):
        target = found["target"]
        at = broken.fault if target == "it" else _place(broken.lines, _text(target, spans))
        return _with(broken.lines, at, _code(found["spans"], spans))
    if found := _REMOVE.search(said):
        return _with(broken.lines, _place(broken.lines, _text(found["target"], spans)), [])
    if inserted := list(_INSERT.finditer(said)):
        lines = broken.lines
        for each in inserted:
            lines = _inserted(lines, each, spans) if lines else []
        return lines
    if found := _WRITE.search(said):
        code = _code(found["spans"], spans)
        at = _alike(broken.lines, code[0]) if broken.fault is None else broken.fault
        return _with(broken.lines, at, code)
    return []


def _inserted(lines: list[str], found: re.Match[str], spans: Sequence[str]) -> list[str]:
    code = _code(found["spans"], spans) * _COUNTS.get(found["count"], 1)
    if found["where"] in _FIRST:
        at = 0 if code[0].startswith(".") else _start(lines)
    elif found["where"] == "at the end":
        at = _place(lines, "rts")
    else:
        at = _place(lines, _text(found["target"] or "", spans))
    if at is None:
        return []
    at += found["where"] == "after"
    return [*lines[:at], *code, *lines[at:]]


def _start(lines: Sequence[str]) -> int:
    """Where the first instruction stands."""
    return next((at for at, line in enumerate(lines) if _INSTRUCTION.match(line) and ".p816" not in line), 0)


def _place(lines: Sequence[str], text: str) -> int | None:
    """The first line that is a text or has it as its mnemonic; of returns the last."""
    found = [at for at, line in enumerate(lines) if text and text in (line.strip(), *line.split()[:1])]
    return found[-1 if text in ("rts", "rtl") else 0] if found else None


def _alike(lines: Sequence[str], code: str) -> int | None:
    """The first line with the same mnemonic, else the first with the same operand."""
    mnemonic, _, operand = code.partition(" ")
    same = _place(lines, mnemonic)
    if same is not None or not operand:
        return same
    return next((at for at, line in enumerate(lines) if line.split()[1:] == operand.split()), None)


def _with(lines: Sequence[str], at: int | None, code: Sequence[str]) -> list[str]:
    """The lines with one of them replaced; a branch or directive alone keeps the operand of the line."""
    if at is None:
        return []
    old, *operand = lines[at].split() or [""]
    if len(code) == 1 and " " not in code[0] and old[:1] == code[0][:1] and old[:1] in (".", "b"):
        code = [" ".join([code[0], *operand])]
    return [*lines[:at], *code, *lines[at + 1 :]]


def _text(name: str, spans: Sequence[str]) -> str:
    return spans[int(name[1:-1])] if name.startswith("<") else name


def _code(named: str, spans: Sequence[str]) -> list[str]:
    return [spans[int(number)] for number in re.findall(r"<(\d+)>", named)]
