"""Routines with one fault each: the input shows the fault, the answer the repaired routine and the reason."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, repair, x2, x4


def patient(d: Dice) -> tuple[str, str, int]:
    """A label, a return instruction and an address for a faulty routine."""
    return (
        label(d, d.pick("clear", "reset", "init", "setup"), d.pick("list", "area", "table", "state")),
        leave(d),
        low_ram(d),
    )


@family
def bug_missing_carry(d: Dice) -> Row:
    name, back, where = patient(d)
    plus, amount = d.chance(0.5), d.between(2, 99)
    op, flag = ("adc", "clc") if plus else ("sbc", "sec")
    off = "one too many" if plus else "one too much"
    change = amount if plus else -amount
    tail = f"{op} #{amount} | sta {x4(where)} | {back}"
    return repair(
        d,
        [
            f"This should {'add' if plus else 'subtract'} {amount} {'to' if plus else 'from'} {x4(where)}, but now "
            f"and then it is {off}.",
            f"The result at {x4(where)} is sometimes off by one after this {'addition' if plus else 'subtraction'} "
            f"of {amount}.",
        ],
        f"{name}: | lda {x4(where)} | {tail}",
        f"{name}: | lda {x4(where)} | {flag} | {tail}",
        [f"{op} always includes the carry flag, so {flag} must come first."],
        [f"The old code worked only when the carry happened to be {'clear' if plus else 'set'}."],
        [Run(mem={where: 120}, regs={"c": c}, out={where: 120 + change}) for c in (0, 1)],
    )


@family
def bug_spill_16(d: Dice) -> Row:
    name, back, where = patient(d)
    value = d.between(1, 200)
    return repair(
        d,
        [
            f"Setting {x4(where)} to {value} also destroys {x4(where + 1)}.",
            f"Only the byte {x4(where)} should become {value}; its neighbour is zeroed too.",
        ],
        f"{name}: | rep #$20 | lda #{x4(value)} | sta {x4(where)} | sep #$20 | {back}",
        f"{name}: | lda #{x2(value)} | sta {x4(where)} | {back}",
        ["With M clear, sta writes two bytes, so the high byte went into the next variable."],
        ["One byte needs 8-bit mode, and then rep and sep can go.", "The 8-bit immediate is a byte shorter as well."],
        [Run(mem={where + 1: 0x5A}, out={where: value, where + 1: 0x5A})],
    )


@family
def bug_short_8(d: Dice) -> Row:
    name, back, where = patient(d)
    target, value = 0x1A00 + d.step(0, 0x80, 2), d.between(0x100, 0xFFFF)
    return repair(
        d,
        [
            f"The word at {x4(where)} should be copied to {x4(target)}, but the high byte stays old.",
            f"Copying the 16-bit value {x4(where)} to {x4(target)} moves only half of it.",
        ],
        f"{name}: | lda {x4(where)} | sta {x4(target)} | {back}",
        f"{name}: | rep #$20 | lda {x4(where)} | sta {x4(target)} | sep #$20 | {back}",
        ["A was 8 bits wide, so lda and sta moved one byte; rep #$20 makes them move both."],
        ["sep #$20 gives the caller its 8-bit A back."],
        [Run(mem={where: le(value)}, out={target: le(value)})],
    )


@family
def bug_no_sep(d: Dice) -> Row:
    name, back, where = patient(d)
    value, wide = d.between(0x100, 0xFFFF), d.pick("20", "30")
    return repair(
        d,
        [
            f"After this routine (it sets {x4(where)} to {x4(value)}) the 8-bit caller crashes.",
            f"{name} works, but the code behind the call runs wild. The caller uses 8-bit registers.",
        ],
        f"{name}: | rep #${wide} | lda #{x4(value)} | sta {x4(where)} | {back}",
        f"{name}: | rep #${wide} | lda #{x4(value)} | sta {x4(where)} | sep #${wide} | {back}",
        [f"The routine returned with 16-bit registers; sep #${wide} restores what the caller expects."],
        ["In 16-bit mode the caller's immediates take one byte more, so it read its own opcodes as data."],
        [Run(out={where: le(value)})],
    )


@family
def bug_return_kind(d: Dice) -> Row:
    caller, callee = label(d, "main", d.pick("step", "part")), label(d, "sub", d.pick("step", "work"))
    where, value, far = low_ram(d), d.between(1, 250), d.chance(0.5)
    call, good, bad = ("jsl", "rtl", "rts") if far else ("jsr", "rts", "rtl")
    head = f"{caller}: | {call} {callee} | lda #{value} | sta {x4(where)} | rts | {callee}: | inc {x4(where + 2)}"
    return repair(
        d,
        [
            f"The game hangs or crashes after {callee} is called, and {x4(where)} never becomes {value}.",
            f"Calling {callee} from {caller} corrupts the stack.",
        ],
        f"{head} | {bad}",
        f"{head} | {good}",
        [f"{call} pushes {3 if far else 2} bytes but {bad} pulls {2 if far else 3}; {call} belongs with {good}."],
        ["A bank byte was left on the stack." if far else "One byte too many was pulled, and it was taken for a bank."],
        [Run(out={where: value, where + 2: 1})],
    )


@family
def bug_off_by_one_down(d: Dice) -> Row:
    name, back, where = patient(d)
    count, at, value = d.between(4, 100), loop(d), d.between(1, 250)
    return repair(
        d,
        [
            f"This fills {count} bytes at {x4(where)} with {value}, but the first byte is left out.",
            f"Byte {x4(where)} keeps its old value; the {count}-byte fill misses it.",
        ],
        f"{name}: | lda #{value} | ldx #{count - 1} | {at}: | sta {x4(where)},x | dex | bne {at} | {back}",
        f"{name}: | lda #{value} | ldx #{count - 1} | {at}: | sta {x4(where)},x | dex | bpl {at} | {back}",
        ["bne leaves as soon as X is 0, before index 0 was stored; bpl goes on until X is $FF."],
        [f"bpl is fine here, since X starts below $80 ({count - 1})."],
        [Run(out={where: bytes([value]) * count})],
    )


@family
def bug_off_by_one_up(d: Dice) -> Row:
    name, back, where = patient(d)
    count, at, value = d.between(4, 200), loop(d), d.between(1, 250)
    short = d.chance(0.5)
    wrong = count - 1 if short else count + 1
    return repair(
        d,
        [
            f"{count} bytes from {x4(where)} should become {value}, but "
            f"{'the last one is skipped' if short else 'one byte too many is written'}.",
            f"The fill of {count} bytes at {x4(where)} ends {'one byte early' if short else 'one byte late'}.",
        ],
        f"{name}: | lda #{value} | ldx #0 | {at}: | sta {x4(where)},x | inx | cpx #{wrong} | bne {at} | {back}",
        f"{name}: | lda #{value} | ldx #0 | {at}: | sta {x4(where)},x | inx | cpx #{count} | bne {at} | {back}",
        [f"X is compared after inx, so the limit is the count itself, {count}, not {wrong}."],
        [f"The last store then uses X = {count - 1}."],
        [Run(mem={where: b"\x00" * (count + 1)}, out={where: bytes([value]) * count + b"\x00"})],
    )


@family
def bug_bpl_large(d: Dice) -> Row:
    name, back, where = patient(d)
    count, at, value = d.between(140, 250), loop(d), d.between(1, 250)
    return repair(
        d,
        [
            f"The loop should write {count} bytes at {x4(where)}, yet it stops after one.",
            f"Only the byte at {x4(where + count - 1)} is written, not all {count} from {x4(where)} on.",
        ],
        f"{name}: | lda #{value} | ldx #{count - 1} | {at}: | sta {x4(where)},x | dex | bpl {at} | {back}",
        f"{name}: | lda #{value} | ldx #{count} | {at}: | sta {x4(where - 1)},x | dex | bne {at} | {back}",
        [f"{count - 1} is {x2(count - 1)}, which counts as negative in 8 bits, so bpl fell through at once."],
        [f"Counting {count} to 1 with bne and a base one lower ({x4(where - 1)}) avoids the sign."],
        [Run(out={where: bytes([value]) * count})],
    )


@family
def bug_stack_order(d: Dice) -> Row:
    name, back, where = patient(d)
    value = d.between(1, 250)
    pair = d.pick(("pha", "phx", "pla", "plx"), ("phx", "phy", "plx", "ply"), ("pha", "phy", "pla", "ply"))
    body = f"lda #{value} | sta {x4(where)}" if "pha" in pair else f"ldx #{value} | stx {x4(where)}"
    one, two = pair[0][2].upper(), pair[1][2].upper()
    regs = {"a": 0x11, "x": 0x22, "y": 0x33}
    return repair(
        d,
        [
            f"After the call {one} and {two} have swapped their values.",
            f"{name} should preserve {one} and {two}, but the caller gets them exchanged.",
        ],
        f"{name}: | {pair[0]} | {pair[1]} | {body} | {pair[2]} | {pair[3]} | {back}",
        f"{name}: | {pair[0]} | {pair[1]} | {body} | {pair[3]} | {pair[2]} | {back}",
        [f"The stack gives back the last push first, so {pair[3]} must come before {pair[2]}."],
        ["Pulls mirror the pushes."],
        [Run(regs=regs, out={where: value}, end={one.lower(): regs[one.lower()], two.lower(): regs[two.lower()]})],
    )


@family
def bug_early_exit_stack(d: Dice) -> Row:
    name, back, where = patient(d)
    limit = d.between(2, 120)
    good = f"{name}: | phx | ldx {x4(where)} | cpx #{limit} | bcs @out | inc {x4(where)} | @out: | plx | {back}"
    bad = f"{name}: | phx | ldx {x4(where)} | cpx #{limit} | bcs @out | inc {x4(where)} | plx | @out: | {back}"
    return repair(
        d,
        [
            f"It counts {x4(where)} up to {limit} and keeps X. It crashes once the limit is reached.",
            f"Fine at first, then a crash when {x4(where)} has reached {limit}.",
        ],
        bad,
        good,
        ["The branch jumped past plx, so the saved X was taken for part of the return address."],
        ["Every path to the return has to pull what was pushed."],
        [Run(mem={where: limit}, out={where: limit}, regs={"x": 7}, end={"x": 7}), Run(mem={where: 0}, out={where: 1})],
    )
