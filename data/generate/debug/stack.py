"""Faults of the stack, of calls and of saved registers, with dumps that the emulator confirms."""

from ..asm.memory import low_ram
from ..asm.row import label, leave, x2, x4
from ..dice import Dice
from ..emulate import Run
from .case import Case, cause, dumped

ENTRY = 0x1F9
"""The stack pointer on entry in the emulator."""


@cause
def stack_left_over(d: Dice) -> Case:
    reg = d.pick("pha", "phx", "phy", "php", "phb")
    flag, value = low_ram(d), d.between(1, 250)
    name = label(d, d.pick("do", "run"), d.pick("step", "event"))
    back = leave(d)
    at = 0x8000 + 1 + 2 + 3
    pull = reg.replace("ph", "pl")
    return dumped(
        d, f"{name}: | {reg} | lda #{x2(value)} | sta {x4(flag)} | {back}",
        f"S on entry $01F9\nS at the {back} $01F8",
        d.pick(f"{reg} has no matching {pull}.", "the stack is not balanced."),
        f"S is one lower at the {back}, so the pushed byte becomes part of the return address.",
        f"insert `{pull}` before the {back}.",
        Run(stop=at, end={"s": ENTRY - 1}, out={flag: value}),
    )  # fmt: skip


@cause
def too_many_pulls(d: Dice) -> Case:
    flag, value, pull = low_ram(d), d.between(1, 250), d.pick("pla", "plx", "ply")
    name, back = label(d, "leave", d.pick("menu", "mode")), leave(d)
    first = pull.replace("pl", "ph")
    return dumped(
        d, f"{name}: | {first} | inc {x4(flag)} | {pull} | {pull} | {back}",
        f"S on entry $01F9\nS at the {back} $01FA\n{x4(flag)} changed from {value} to {value + 1}",
        d.pick(f"{pull} is executed once too often.", "more is pulled than was pushed."),
        f"S is one higher at the {back} than on entry, so a byte of the return address is gone.",
        f"remove one `{pull}`.",
        Run(mem={flag: value}, stop=0x8006, end={"s": ENTRY + 1}, out={flag: value + 1}),
    )  # fmt: skip


@cause
def far_call_near_return(d: Dice) -> Case:
    sub, main, where = label(d, "sub", d.pick("work", "draw")), label(d, "main", d.pick("loop", "step")), low_ram(d)
    value = d.between(1, 250)
    return dumped(
        d, f"{main}: | jsl {sub} | nop | rts | {sub}: | lda #{x2(value)} | sta {x4(where)} | rts",
        f"{main} = $8000, S on entry $01F9\nback at $8004 with S = $01F8, A = {x2(value)}",
        d.pick(f"{sub} is called with jsl but ends with rts.", "call and return do not match: jsl with rts."),
        "jsl pushes three bytes, rts pulls two; S is one lower after the call.",
        f"end {sub} with rtl, or call it with jsr while it is in the same bank.",
        Run(stop=0x8004, end={"s": ENTRY - 1, "a": value}, out={where: value}),
    )  # fmt: skip


@cause
def near_call_far_return(d: Dice) -> Case:
    sub, main, where = label(d, "sub", d.pick("fill", "scan")), label(d, "main", d.pick("task", "part")), low_ram(d)
    return dumped(
        d, f"{main}: | jsr {sub} | nop | rts | {sub}: | inc {x4(where)} | rtl",
        f"{main} = $8000, S on entry $01F9\nat the rtl S = $01F7; after it execution goes on in an unexpected bank",
        d.pick(f"{sub} ends with rtl but is called with jsr.", "rtl pulls a bank byte that jsr never pushed."),
        "jsr lowered S by two, from $01F9 to $01F7; rtl takes three bytes, and the third belongs to the caller's "
        "caller.",
        f"use jsl for the call or end {sub} with rts.",
        Run(stop=0x8008, end={"s": ENTRY - 2}, out={where: 1}),
    )  # fmt: skip


@cause
def handler_clobbers(d: Dice) -> Case:
    reg, flag = d.pick("a", "x", "y"), low_ram(d)
    before, value = d.between(1, 120), d.between(121, 250)
    return dumped(
        d, f"{label(d, 'nmi', d.pick('extra', 'hook'))}: | ld{reg} #{x2(value)} | st{reg} {x4(flag)} | rtl",
        f"interrupted code: {reg.upper()}={x2(before)} before the NMI, {reg.upper()}={x2(value)} after it",
        d.pick(f"the code called from the NMI changes {reg.upper()} and does not restore it.",
        "an interrupt must not alter registers."),
        f"{x2(value)} is the constant of ld{reg} in the hook.",
        f"save it: `ph{reg}` first and `pl{reg}` before the rtl.",
        Run(regs={reg: before}, end={reg: value}, out={flag: value}),
    )  # fmt: skip
