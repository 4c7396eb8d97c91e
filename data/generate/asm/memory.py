"""Filling, copying, searching and summing memory."""

from ..dice import Dice
from ..emulate import Run
from .row import Row, family, label, le, leave, loop, routine, x2, x4, x6


def low_ram(d: Dice) -> int:
    """A word-aligned address in the first 8 KB of work RAM, away from the direct page and the stack."""
    return d.step(0x0400, 0x1800, 0x10)


def far_ram(d: Dice) -> int:
    """An address in the second bank of work RAM."""
    return 0x7F0000 + d.step(0x2000, 0xE000, 0x20)


@family
def fill_bytes_up(d: Dice) -> Row:
    base, size, value, at = low_ram(d), d.between(5, 200), d.between(1, 255), loop(d)
    name, back = label(d, "fill", d.pick("buffer", "table", "list")), leave(d)
    end = bytes([value]) * size + b"\x99"
    return routine(
        d,
        [
            f"Fill {size} bytes at {x4(base)} with {x2(value)}, counting up with an 8-bit X.",
            f"I need {size} bytes starting at {x4(base)} set to {x2(value)}. Use an ascending loop.",
            f"Write {name}: store {x2(value)} in each of the {size} bytes from {x4(base)} on, low address first.",
        ],
        f"{name}: | ldx #0 | lda #{x2(value)} | {at}: | sta {x4(base)},x | inx | cpx #{size} | bne {at} | {back}",
        [f"X runs from 0 to {size - 1}, and the loop ends when it reaches {size}."],
        [
            "A is loaded once, outside the loop, because sta does not change it.",
            f"The last byte written is {x4(base + size - 1)}.",
            "The routine expects 8-bit A and 8-bit index registers on entry.",
        ],
        [Run(mem={base: b"\x99" * (size + 1)}, out={base: end})],
    )


@family
def clear_words_down(d: Dice) -> Row:
    base, count, at = low_ram(d), d.between(6, 120), loop(d)
    name, back = label(d, "clear", d.pick("work", "slots", "area")), leave(d)
    last, size = 2 * (count - 1), 2 * count
    return routine(
        d,
        [
            f"Clear {count} words at {x4(base)} as fast as is reasonable, counting down.",
            f"Zero {size} bytes from {x4(base)} two at a time with a descending index.",
            f"Write {name}, which zeroes {x4(base)}-{x4(base + size - 1)} with 16-bit stores.",
        ],
        f"{name}: | rep #$20 | ldx #{last} | {at}: | stz {x4(base)},x | dex | dex | bpl {at} | sep #$20 | {back}"
        if last < 128
        else f"{name}: | rep #$30 | ldx #{last} | {at}: | stz {x4(base)},x | dex | dex | bpl {at} | sep #$30 | {back}",
        [
            f"With a 16-bit accumulator each stz clears two bytes, so {count} passes clear {size} bytes.",
            "The index stays 8-bit: it starts below $80, so bpl sees it go negative only after 0."
            if last < 128
            else f"X starts at {last}, which is too large for bpl on an 8-bit index, so X is 16 bits wide.",
        ],
        ["Counting down saves the compare that an ascending loop needs."],
        [Run(mem={base: b"\x55" * (size + 2)}, out={base: bytes(size) + b"\x55\x55"})],
    )


@family
def copy_bytes_down(d: Dice) -> Row:
    source, count, at = low_ram(d), d.between(3, 127), loop(d)
    target = far_ram(d)
    name, back = label(d, "copy", d.pick("down", "block", "state")), leave(d)
    data = bytes((7 * index + 3) & 255 for index in range(count))
    return routine(
        d,
        [
            f"Copy {count} bytes from {x4(source)} to {x6(target)} with a descending 8-bit loop.",
            f"Back up {x4(source)}-{x4(source + count - 1)} to bank $7F at {x6(target)}.",
            f"Write {name}: {count} bytes, {x4(source)} to {x6(target)}, X counting down to zero.",
        ],
        f"{name}: | ldx #{count - 1} | {at}: | lda {x4(source)},x | sta {x6(target)},x | dex | bpl {at} | {back}",
        [
            f"X goes from {count - 1} down to 0 and bpl leaves the loop when dex makes it $FF.",
            "The store is absolute long, so the data bank register does not matter for it.",
        ],
        ["Long addressing exists with X only, so Y could not be the index here.", "Each pass moves one byte."],
        [Run(mem={source: data}, out={target: data})],
    )


@family
def copy_with_mvn(d: Dice) -> Row:
    source, size = 0x7E0000 + d.step(0x2000, 0x8000, 0x100), d.step(0x20, 0x600, 0x10)
    target = far_ram(d)
    name, back, save = label(d, "move", d.pick("block", "map", "page")), leave(d), d.chance(0.6)
    data = bytes((index * 5 + 1) & 255 for index in range(size))
    body = (
        f"rep #$30 | lda #{x4(size - 1)} | ldx #{x4(source & 0xFFFF)} | ldy #{x4(target & 0xFFFF)} | "
        "mvn #$7E, #$7F | sep #$30"
    )
    code = f"{name}: | phb | {body} | plb | {back}" if save else f"{name}: | {body} | {back}"
    change = "phb and plb restore the data bank, which mvn leaves at the destination bank."
    note = "After mvn the data bank register is $7F; the caller must expect that, since it is not saved."
    return routine(
        d,
        [
            f"Move {x4(size)} bytes from {x6(source)} to {x6(target)} with mvn.",
            f"Use a block move to copy {size} bytes, {x6(source)} to {x6(target)}"
            + (" and keep DB." if save else "; DB may change."),
            f"Write {name} with mvn: source {x6(source)}, destination {x6(target)}, length {x4(size)}"
            + (", data bank preserved." if save else ", no need to preserve the data bank."),
        ],
        code,
        [f"A holds the length minus one, {x4(size - 1)}.", change if save else note],
        [
            "In ca65 the source bank is written first and the destination bank second.",
            "mvn takes 7 cycles for each byte.",
            "All three registers must be 16 bits wide to hold these values.",
        ],
        [Run(mem={source: data}, out={target: data}, end={} if save else {"db": 0x7F})],
    )


@family
def overlap_with_mvp(d: Dice) -> Row:
    source, size, shift = 0x2000 + d.step(0, 0x3000, 0x40), d.step(0x10, 0x180, 8), d.between(1, 15)
    name, back = label(d, "open", "gap"), leave(d)
    data = bytes((index * 3 + 9) & 255 for index in range(size))
    last, to = source + size - 1, source + size - 1 + shift
    return routine(
        d,
        [
            f"Shift {size} bytes at {x6(0x7E0000 + source)} up by {shift} without damaging the overlap.",
            f"Make a {shift}-byte gap before the {size}-byte list at {x6(0x7E0000 + source)}; the areas overlap.",
        ],
        f"{name}: | phb | rep #$30 | lda #{x4(size - 1)} | ldx #{x4(last)} | ldy #{x4(to)} | mvp #$7E, #$7E"
        f" | sep #$30 | plb | {back}",
        [
            "mvp starts at the last byte and walks down, so bytes are read before the move overwrites them.",
            f"X is the last source byte {x4(last)}, Y the last destination byte {x4(to)}.",
        ],
        ["mvn would copy upwards and repeat the first bytes over the rest.", "plb undoes the change mvp makes to DB."],
        [Run(mem={0x7E0000 + source: data}, out={0x7E0000 + source + shift: data})],
    )


@family
def copy_long_pointer(d: Dice) -> Row:
    pointer, target, count = d.step(0x00, 0x0C, 3), low_ram(d), d.between(4, 110)
    at, name, back = loop(d), label(d, "fetch", d.pick("record", "entry", "block")), leave(d)
    source = 0x7F0000 + d.between(0x1000, 0xF000)
    data = bytes((index * 11 + 4) & 255 for index in range(count))
    return routine(
        d,
        [
            f"Copy {count} bytes from the 24-bit pointer at {x2(pointer)} to {x4(target)}.",
            f"{x2(pointer)}-{x2(pointer + 2)} hold a long pointer. Read {count} bytes through it into {x4(target)}.",
        ],
        f"{name}: | ldy #{count - 1} | {at}: | lda [{x2(pointer)}],y | sta {x4(target)},y | dey | bpl {at} | {back}",
        [f"lda [{x2(pointer)}],y adds Y to the 24-bit pointer stored in {x2(pointer)}-{x2(pointer + 2)}."],
        [
            "The source can lie in any bank, because the pointer carries its bank byte.",
            "sta takes absolute,y, so the destination uses the data bank.",
            f"Y counts from {count - 1} down to 0.",
        ],
        [Run(mem={pointer: le(source, 3), source: data}, out={target: data})],
    )


@family
def set_long_pointer(d: Dice) -> Row:
    pointer, target, offset = d.step(0x00, 0x0C, 3), far_ram(d) + d.between(1, 9), d.between(1, 60)
    value, name, back = d.between(1, 255), label(d, "store", "far"), leave(d)
    return routine(
        d,
        [
            f"Build a long pointer to {x6(target)} at {x2(pointer)} and store {x2(value)} at offset {offset} of it.",
            f"Write {x2(value)} to byte {offset} of the table at {x6(target)} through [{x2(pointer)}],y.",
        ],
        f"{name}: | rep #$20 | lda #{x4(target & 0xFFFF)} | sta {x2(pointer)} | sep #$20 | lda #{x2(target >> 16)}"
        f" | sta {x2(pointer + 2)} | ldy #{offset} | lda #{x2(value)} | sta [{x2(pointer)}],y | {back}",
        [
            f"The low word goes to {x2(pointer)} in 16-bit mode and the bank byte to {x2(pointer + 2)} in 8-bit mode.",
            f"The byte lands at {x6(target + offset)}.",
        ],
        ["A 16-bit store of the bank would also overwrite the byte after the pointer."],
        [Run(mem={pointer + 3: 0x77}, out={target + offset: value, pointer + 3: 0x77})],
    )
