"""Rows that turn 6502 code into 65816 code."""

from collections.abc import Sequence

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, repair, x2, x4

_CONVERT = (
    "Convert this 6502 code to the 65816.", "This comes from a 6502 program; make it use what the 65816 adds.",
    "Rewrite the 6502 routine with 65816 instructions.", "Shorten this 6502 routine for the SNES CPU.",
)  # fmt: skip


def converted(d: Dice, old: str, new: str, always: Sequence[str], maybe: Sequence[str], runs: Sequence[Run]) -> Row:
    """A row that modernises code: the old code works as well, so it must pass the same runs."""
    row = repair(d, [d.of(_CONVERT)], old, new, always, maybe, runs)
    text = row.instruction.rsplit(". ", 1)[0] + "."
    return Row(instruction=text, input=row.input, output=row.output, code=row.code, equal=row.input, runs=row.runs)


@family
def convert_push_index(d: Dice) -> Row:
    name, where, value, back = label(d, "keep", "index"), low_ram(d), d.between(1, 250), "rts"
    work = f"ldx #{value} | stx {x4(where)} | ldy #0"
    return converted(
        d,
        f"{name}: | pha | txa | pha | tya | pha | {work} | pla | tay | pla | tax | pla | {back}",
        f"{name}: | phx | phy | {work} | ply | plx | {back}",
        ["The 65816 pushes X and Y directly, so A no longer has to carry them and needs no saving."],
        ["ply and plx set N and Z, as the old transfers did."],
        [Run(regs={"a": 1, "x": 2, "y": 3}, out={where: value}, end={"a": 1, "x": 2, "y": 3})],
    )


@family
def convert_clear(d: Dice) -> Row:
    name, where, back, count = label(d, "zero", d.pick("vars", "flags")), low_ram(d), "rts", d.between(2, 5)
    spots = [where + 2 * k for k in range(count)]
    stores = [f"sta {x4(spot)}" for spot in spots]
    return converted(
        d,
        f"{name}: | lda #0 | {' | '.join(stores)} | {back}",
        f"{name}: | {' | '.join(s.replace('sta', 'stz') for s in stores)} | {back}",
        ["stz writes zero without the accumulator, so lda #0 disappears and A is kept."],
        ["stz exists for direct page and absolute addresses, with and without X."],
        [Run(mem=dict.fromkeys(spots, 9), out=dict.fromkeys(spots, 0))],
    )


@family
def convert_add_word(d: Dice) -> Row:
    name, where, amount, back = label(d, "add", "word"), low_ram(d), d.between(0x101, 0x7FFF), "rts"
    minus = d.chance(0.5)
    flag, op = ("sec", "sbc") if minus else ("clc", "adc")
    return converted(
        d,
        f"{name}: | {flag} | lda {x4(where)} | {op} #{x2(amount & 255)} | sta {x4(where)} | lda {x4(where + 1)} | "
        f"{op} #{x2(amount >> 8)}"
        f" | sta {x4(where + 1)} | {back}",
        f"{name}: | rep #$20 | {flag} | lda {x4(where)} | {op} #{x4(amount)} | sta {x4(where)} | sep #$20 | {back}",
        [f"With a 16-bit accumulator one {op} does both bytes, and the carry between them is handled inside."],
        [f"The two byte constants join to {x4(amount)}."],
        [Run(mem={where: le(0x80FF)}, out={where: le(0x80FF - amount if minus else 0x80FF + amount)})],
    )


@family
def convert_branch_always(d: Dice) -> Row:
    name, where, back = label(d, "choose", d.pick("value", "tile")), low_ram(d), "rts"
    one, two = d.between(1, 120), d.between(121, 250)
    return converted(
        d,
        f"{name}: | lda {x4(where)} | beq @zero | lda #{one} | jmp @put | @zero: | lda #{two} | @put: | sta "
        f"{x4(where + 1)} | {back}",
        f"{name}: | lda {x4(where)} | beq @zero | lda #{one} | bra @put | @zero: | lda #{two} | @put: | sta "
        f"{x4(where + 1)} | {back}",
        ["bra is an unconditional relative branch, one byte shorter than jmp and relocatable."],
        ["Its reach is -128 to +127 bytes; brl reaches the whole bank."],
        [Run(mem={where: 0}, out={where + 1: two}), Run(mem={where: 1}, out={where + 1: one})],
    )


@family
def convert_increment(d: Dice) -> Row:
    name, where, amount, back = label(d, "step", d.pick("up", "down")), low_ram(d), d.between(1, 3), "rts"
    down = "down" in name.lower()
    flag, op = ("sec", "sbc") if down else ("clc", "adc")
    mask = d.pick(0x0F, 0x1F, 0x3F, 0x7F)
    new = " | ".join(["dec a" if down else "inc a"] * amount)
    return converted(
        d,
        f"{name}: | lda {x4(where)} | {flag} | {op} #{amount} | and #{x2(mask)} | sta {x4(where)} | {back}",
        f"{name}: | lda {x4(where)} | {new} | and #{x2(mask)} | sta {x4(where)} | {back}",
        [f"The 65816 can {'decrement' if down else 'increment'} A itself, which needs no {flag}."],
        ["The carry is left alone now, which the old code changed.", "N and Z follow the result as before."],
        [Run(mem={where: mask}, out={where: (mask - amount if down else mask + amount) & mask})],
    )


@family
def convert_indirect(d: Dice) -> Row:
    name, pointer, back = label(d, "peek", d.pick("byte", "list")), d.step(0, 12, 2), "rts"
    target, value = low_ram(d), d.between(1, 250)
    return converted(
        d,
        f"{name}: | ldy #0 | lda ({x2(pointer)}),y | sta {x4(target)} | {back}",
        f"{name}: | lda ({x2(pointer)}) | sta {x4(target)} | {back}",
        ["The 65816 has plain direct indirect addressing, so Y need not be zero for it."],
        ["Y keeps its value now.", "The pointer is still 16 bits, and the bank comes from DB."],
        [Run(regs={"db": 0}, mem={pointer: le(0x1B00), 0x1B00: value}, out={target: value})],
    )
