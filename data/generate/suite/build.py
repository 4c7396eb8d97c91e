"""How a task of the suite is put together."""

from collections.abc import Callable, Sequence
from typing import Any

from hafs.evaluation.rom.task import RomTask

from ..dice import Dice

Family = Callable[[Dice, int], RomTask]
FAMILIES: dict[str, Family] = {}
"""Every family by name; it makes the k-th of its tasks."""

CALLED = "It is called with jsl, with 8-bit registers, D = 0 and DB = $00, and must give them back so."
ROUTINE = "Write it for asar as a routine alone: no org, no other routine; it starts at the first instruction."
PATCH = "Write it as an asar patch for this LoROM image."


def family(build: Family) -> Family:
    """Register a family under the name of its function."""
    FAMILIES[build.__name__] = build
    return build


def code(text: str) -> str:
    """Lay out code: labels at the margin, instructions indented; lines are separated by ` | `."""
    lines = [piece.strip() for piece in text.split(" | ")]
    return "\n".join(
        line if line.endswith(":") or line.startswith(("org", "+", "-")) else f"  {line}" for line in lines
    )


def made(name: str, k: int, prompt: str, answer: str, wrong: Sequence[str], **more: Any) -> RomTask:
    """The k-th task of a family.

    Args:
        name: Of the family.
        k: Its number, from 0 on.
        prompt: What is asked.
        answer: Code that passes, as `code` takes it.
        wrong: Code that must not pass; an empty routine is added.
        more: The other fields.
    """
    fails = (*map(code, wrong), "  rtl" if more.get("kind", "routine") != "patch" else "org $008000\n  nop")
    kind = more.pop("kind", "routine")
    return RomTask(
        id=f"{name}-{k + 1}", family=name, prompt=prompt, kind=kind, answer=code(answer), must_fail=fails, **more
    )
