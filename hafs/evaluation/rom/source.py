"""The code in an answer: where it stands, and in which assembler's dialect it is written."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

from hafs.evaluation.rom.blocks import LANGUAGES, bare_code, blocks

Syntax = Literal["ca65", "asar"]
SYNTAXES: tuple[str, ...] = get_args(Syntax)

_INSTRUCTION = re.compile(r"^\s*(?:[@.!]?\w+:?)?\s*(?:[a-z]{3}|d[bwl])\b", re.MULTILINE | re.IGNORECASE)
_FOREIGN = re.compile(r"\.(?:include|incbin)\b", re.IGNORECASE)
_DIRECTIVES = (
    r"(?:a8|a16|i8|i16|p816|smart|byte|word|addr|faraddr|proc|scope|end\w+|segment|org|reloc|res|repeat|macro|local|"
    r"if\w*|else\w*|code|rodata|data|bss|zeropage|import|export|global|include|incbin|setcpu|assert|align|asciiz|define)"
)
_ASAR = re.compile(
    r"^\s*(?:org\b|lorom\b|hirom\b|d[bwl]\b|freecode\b|freedata\b|autoclean\b|push(?:pc|base)\b|pullpc\b|base\b|"
    r"!\w+\s*[?:]?=|\.(?!" + _DIRECTIVES + r"\b)\w+:?\s*$|[+-]+\s|\w{3}\.[bwl]\b)|\w\s+:\s+\w{3}\b",
    re.MULTILINE | re.IGNORECASE,
)
_CA65 = re.compile(r"^\s*(?:@?\w+:?)?\s*\." + _DIRECTIVES + r"\b|^@\w+:", re.MULTILINE | re.IGNORECASE)


def code_of(text: str) -> str:
    """The assembly in a text: its blocks, joined, or lines without a fence; empty where nothing is an instruction."""
    fenced = blocks(text)
    code = "\n".join(body for name, body in fenced if name in LANGUAGES) if fenced else bare_code(text)
    return code if _INSTRUCTION.search(code) else ""


def is_whole(text: str) -> bool:
    """Whether no code block was cut off."""
    return text.count("```") % 2 == 0


def reads_files(code: str) -> bool:
    """Whether ca65 would read another file for this code; asar, with more ways to, runs in a sandbox only."""
    return bool(_FOREIGN.search(code))


def guessed(code: str) -> Syntax:
    """The dialect that a piece of code looks like; code that is the same in both counts as ca65."""
    return "asar" if len(_ASAR.findall(code)) > len(_CA65.findall(code)) else "ca65"


def dialect(said: str, code: str) -> str:
    """The dialect that a row says it is in; guessed from its code where it says none."""
    return said or guessed(code)


def guessed_note(codes: Sequence[str]) -> str:
    """What to tell about code whose dialect was guessed; empty: none was."""
    found = Counter(guessed(code) for code in codes if code)
    told = ", ".join(f"{count} {name}" for name, count in found.most_common())
    return f"the assembler of {found.total()} rows was guessed ({told}); a key `syntax` says it" if found else ""
