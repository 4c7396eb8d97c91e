"""A case to diagnose: what the user shows, the three-part answer, and what a checker may run."""

from collections.abc import Callable
from dataclasses import dataclass

from ..asm.row import asm
from ..dice import Dice
from ..emulate import Run


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row, with its evidence in a form that can be reproduced."""

    instruction: str
    input: str
    output: str
    source: str = ""
    """A file that ca65 must reject."""
    messages: tuple[str, ...] = ()
    """Exactly what it prints, without the file name."""
    cpu: str = "65816"
    """The processor given to ca65 for `source`."""
    code: str = ""
    """Code that the dump in the input comes from."""
    runs: tuple[Run, ...] = ()
    """Runs of `code` that must end as the dump says."""
    crash: str = ""
    """How the emulator must end instead, such as `brk at $8003`."""


Cause = Callable[[Dice], Case]
CAUSES: dict[str, Cause] = {}
"""Every cause by name."""


def cause(build: Cause) -> Cause:
    """Register a cause under the name of its function."""
    CAUSES[build.__name__] = build
    return build


def verdict(why: str, evidence: str, fix: str) -> str:
    """The three-part answer."""
    return f"Cause: {why}\nEvidence: {evidence}\nFix: {fix}"


BUILD_ASKS = (
    "ca65 stops with this message.", "The build fails. Why?", "What does this error want from me?",
    "Explain the assembler error.",
    "It does not assemble.", "Diagnose the build log.", "Why is this rejected?", "Help me with this message.",
)  # fmt: skip
CRASH_ASKS = (
    "The game misbehaves here. What is wrong?", "Diagnose this dump.", "Find the cause.", "Why does this go wrong?",
    "What explains these values?", "Debug this, please.", "Here is what the debugger shows. Any idea?", "What broke?",
)  # fmt: skip


def filler(d: Dice) -> list[str]:
    """A few harmless lines, to move the fault to another line."""
    pool = (
        "sei",
        "clc",
        "nop",
        "php",
        "phb",
        "lda $10",
        "sta $00",
        "inc $1A",
        "lda #$01",
        "sta $0600",
        "stz $0700",
        "xba",
        "tax",
    )
    return d.some(pool, d.between(0, 4))


def rejected(
    d: Dice,
    lines: str,
    fault: int,
    text: str,
    why: str,
    evidence: str,
    fix: str,
    *,
    cpu: str = "65816",
    end: bool = False,
) -> Case:
    """A case around a message of ca65; `fault` is the index of the line it names, `end` makes that the last line."""
    head = [".p816"] if cpu == "65816" else []
    body = [*head, *(f"  {line}" for line in filler(d)), *asm(lines).split("\n")]
    tail = asm(lines).split("\n")
    number = len(body) if end else len(body) - len(tail) + fault + 1
    name = d.pick("hack", "main", "patch", "items", "hooks", "engine", "sprites", "menu")
    source = "\n".join(body) + "\n"
    shown = f"{name}.s({number}): Error: {text}"
    return Case(
        instruction=d.of(BUILD_ASKS),
        input=f"{shown}\n\n{source.rstrip()}",
        output=verdict(why, evidence.replace("LINE", f"line {number}"), fix),
        source=source,
        messages=(f"({number}): Error: {text}",),
        cpu=cpu,
    )


def dumped(d: Dice, code: str, dump: str, why: str, evidence: str, fix: str, *runs: Run, crash: str = "") -> Case:
    """A case around code and what was seen when it ran."""
    body = asm(code)
    first, second = (body, dump) if d.chance(0.6) else (dump, body)
    return Case(
        instruction=d.of(CRASH_ASKS),
        input=f"{first}\n\n{second}",
        output=verdict(why, evidence, fix),
        code=body,
        runs=runs,
        crash=crash,
    )
