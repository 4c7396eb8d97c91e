"""Filling, copying, searching and summing memory."""

from ..dice import Dice
from ..emulate import Run
from .row import Row, asm, answer, family, label, le, leave, loop, routine, x2, x4, x6


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


@family
def find_byte(d: Dice) -> Row:
    base, count, at = low_ram(d), d.between(8, 100), loop(d)
    name, back = label(d, "find", d.pick("byte", "value", "entry")), leave(d)
    spot = d.between(1, count - 1)
    data = bytes(0x20 + index for index in range(count))
    return routine(
        d,
        [
            f"Search {count} bytes at {x4(base)} for the value in A. Carry set and X = index when found.",
            f"Write {name}: look for A in the {count}-byte list at {x4(base)}; return carry clear if it is missing.",
        ],
        f"{name}: | ldx #{count - 1} | {at}: | cmp {x4(base)},x | beq @found | dex | bpl {at} | clc | {back}"
        f" | @found: | sec | {back}",
        ["The carry flag is the result: sec after a match, clc when the loop runs out."],
        [
            "The search starts at the last entry, so of several matches it reports the highest index.",
            "A is kept, since cmp only sets flags.",
            "cmp itself changes the carry, so both exits set it explicitly.",
        ],
        [
            Run(regs={"a": 0x20 + spot}, mem={base: data}, end={"x": spot, "c": 1}),
            Run(regs={"a": 0x10, "c": 1}, mem={base: data}, end={"c": 0}),
        ],
    )


@family
def checksum_words(d: Dice) -> Row:
    base, count, at = 0x7EF000 + d.step(0, 0x300, 0x10), d.between(8, 250), loop(d)
    store, name, back = low_ram(d), label(d, "sum", d.pick("words", "block", "save")), leave(d)
    data = [(index * 777 + 41) & 0xFFFF for index in range(count)]
    total = sum(data) & 0xFFFF
    return routine(
        d,
        [
            f"Add up {count} words at {x6(base)} and store the 16-bit sum at {x4(store)}.",
            f"Write {name}: a 16-bit checksum over {2 * count} bytes from {x6(base)}, result in {x4(store)}.",
        ],
        f"{name}: | rep #$30 | lda #0 | ldx #{2 * (count - 1)} | {at}: | clc | adc {x6(base)},x | dex | dex"
        f" | bpl {at} | sta {x4(store)} | sep #$30 | {back}",
        ["clc before each adc keeps the carry of one addition out of the next, so the sum is modulo $10000."],
        [
            f"X starts at {2 * (count - 1)} and drops by two, one word per pass.",
            "Addition does not care about order, so counting down is fine.",
        ],
        [Run(mem={base: b"".join(le(v) for v in data)}, out={store: le(total)})],
    )


@family
def xor_bytes(d: Dice) -> Row:
    base, count, key, at = low_ram(d), d.between(5, 120), d.between(1, 255), loop(d)
    name, back = label(d, d.pick("mask", "scramble", "flip"), "bytes"), leave(d)
    data = bytes((index * 13 + 5) & 255 for index in range(count))
    return routine(
        d,
        [
            f"XOR {count} bytes at {x4(base)} with {x2(key)} in place.",
            f"Write {name}, which toggles the bits of {x2(key)} in every byte of {x4(base)}-{x4(base + count - 1)}.",
        ],
        f"{name}: | ldx #{count} | {at}: | lda {x4(base - 1)},x | eor #{x2(key)} | sta {x4(base - 1)},x | dex"
        f" | bne {at} | {back}",
        [
            f"X counts {count} down to 1, so the base is {x4(base - 1)}, one below the first byte.",
        ],
        ["Running it twice restores the data, because eor with the same value cancels.", "The loop ends with bne."],
        [Run(mem={base: data}, out={base: bytes(v ^ key for v in data), base - 1: 0})],
    )


@family
def reverse_bytes(d: Dice) -> Row:
    base, count, at = low_ram(d), d.step(4, 60, 2), loop(d)
    name, back = label(d, "reverse", d.pick("list", "row", "bytes")), leave(d)
    data = bytes((index * 9 + 2) & 255 for index in range(count))
    return routine(
        d,
        [
            f"Reverse the order of {count} bytes at {x4(base)} in place.",
            f"Write {name}: swap the {count}-byte array at {x4(base)} end for end.",
        ],
        f"{name}: | ldx #0 | ldy #{count - 1} | {at}: | lda {x4(base)},x | pha | lda {x4(base)},y | sta {x4(base)},x"
        f" | pla | sta {x4(base)},y | inx | dey | cpx #{count // 2} | bne {at} | {back}",
        [f"X walks up and Y walks down; after {count // 2} swaps they have met in the middle."],
        ["pha keeps one byte while the other is copied over it.", "Every pha has its pla inside the same pass."],
        [Run(mem={base: data}, out={base: data[::-1]})],
    )


@family
def swap_areas(d: Dice) -> Row:
    one, two, count, at = low_ram(d), 0x1A00 + d.step(0, 0x200, 0x10), d.between(2, 40), loop(d)
    name, back = label(d, "swap", d.pick("areas", "players", "slots")), leave(d)
    first = bytes((index * 3 + 1) & 255 for index in range(2 * count))
    second = bytes((index * 7 + 90) & 255 for index in range(2 * count))
    return routine(
        d,
        [
            f"Exchange {2 * count} bytes between {x4(one)} and {x4(two)}, a word at a time.",
            f"Swap the two {count}-word areas {x4(one)} and {x4(two)}.",
        ],
        f"{name}: | rep #$30 | ldx #{2 * (count - 1)} | {at}: | lda {x4(one)},x | ldy {x4(two)},x"
        f" | sta {x4(two)},x | tya | sta {x4(one)},x | dex | dex | bpl {at} | sep #$30 | {back}",
        ["Both words are read before either is written, one in A and one in Y."],
        ["sty has no absolute,x form, so Y goes through tya.", f"The loop makes {count} passes."],
        [Run(mem={one: first, two: second}, out={one: second, two: first})],
    )


@family
def compare_areas(d: Dice) -> Row:
    one, two, count, at = low_ram(d), 0x1A00 + d.step(0, 0x200, 0x10), d.between(3, 100), loop(d)
    name, back = label(d, "same", d.pick("bytes", "block")), leave(d)
    data = bytes((index * 5 + 8) & 255 for index in range(count))
    other = bytes([data[0] ^ 1]) + data[1:]
    return routine(
        d,
        [
            f"Compare {count} bytes at {x4(one)} with {x4(two)}; return Z set when all are equal.",
            f"Write {name}: beq after the call should mean that both {count}-byte areas match ({x4(one)}, {x4(two)}).",
        ],
        f"{name}: | ldx #{count - 1} | {at}: | lda {x4(one)},x | cmp {x4(two)},x | bne @done | dex | bpl {at} | lda #0"
        f" | @done: | {back}",
        ["A mismatch leaves at once with Z clear; otherwise lda #0 sets Z."],
        [
            "Without the final lda the flags would be those of dex, which are not zero.",
            "Neither rts nor rtl changes flags, so the caller can branch on Z.",
        ],
        [
            Run(mem={one: data, two: data}, end={"z": 1}),
            Run(mem={one: data, two: other}, end={"z": 0}),
        ],
    )


@family
def wram_port_fill(d: Dice) -> Row:
    target, count, value, at = 0x10000 * d.pick(0, 1) + d.step(0x3000, 0x9000, 0x80), d.between(4, 200), d.between(0, 255), loop(d)
    name, back = label(d, "port", "fill"), leave(d)
    return routine(
        d,
        [
            f"Write {count} bytes of {x2(value)} to {x6(0x7E0000 + target)} through the WRAM data port $2180.",
            f"Use $2181-$2183 and $2180 to fill {count} bytes at {x6(0x7E0000 + target)} with {x2(value)}.",
        ],
        f"{name}: | rep #$20 | lda #{x4(target & 0xFFFF)} | sta $2181 | sep #$20 | lda #{target >> 16} | sta $2183"
        f" | ldx #{count} | lda #{x2(value)} | {at}: | sta $2180 | dex | bne {at} | {back}",
        [
            f"$2181-$2183 take a 17-bit address; bit 16 is {target >> 16}, so the bank is ${0x7E + (target >> 16):02X}.",
            "Each write to $2180 advances the address by one.",
        ],
        ["X only counts; it is not part of the address."],
        [Run(out={0x7E0000 + target: bytes([value]) * count})],
    )


@family
def strided_clear(d: Dice) -> Row:
    base, stride, count, field, at = low_ram(d), d.pick(4, 6, 8, 16), d.between(4, 15), d.between(0, 3), loop(d)
    name, back = label(d, "clear", d.pick("field", "flags", "column")), leave(d)
    end = stride * count
    step = " | ".join(["inx"] * stride) if stride == 4 else f"txa | clc | adc #{stride} | tax"
    want = {base + field + index * stride: bytes([0, 9, 9]) for index in range(count)}
    return routine(
        d,
        [
            f"The list at {x4(base)} has {count} records of {stride} bytes. Clear byte {field} of each.",
            f"Zero offset {field} in each of {count} structs ({stride} bytes apart) that start at {x4(base)}.",
        ],
        f"{name}: | ldx #0 | {at}: | stz {x4(base + field)},x | {step} | cpx #{end} | bne {at} | {back}",
        [f"X moves by the record size, {stride}, and stops at {stride} x {count} = {end}."],
        [f"The field offset is folded into the base address: {x4(base)} + {field} = {x4(base + field)}."]
        + (["txa, adc and tax are shorter here than a run of inx."] if stride > 6 else []),
        [Run(mem={base: b"\x09" * (end + 4)}, out=want)],
    )


@family
def ring_push(d: Dice) -> Row:
    base, size = low_ram(d), d.pick(8, 16, 32, 64)
    head, name, back = base + size, label(d, "push", d.pick("event", "sample", "byte")), leave(d)
    start = d.between(0, size - 1)
    return routine(
        d,
        [
            f"Append A to a ring buffer of {size} bytes at {x4(base)}; the write index is at {x4(head)}.",
            f"Write {name}: store A at {x4(base)} + index ({x4(head)}), then advance the index modulo {size}.",
        ],
        f"{name}: | ldx {x4(head)} | sta {x4(base)},x | inx | txa | and #{x2(size - 1)} | sta {x4(head)} | {back}",
        [f"and #{x2(size - 1)} wraps the index, because {size} is a power of two."],
        ["A does not survive: it ends as the new index.", "The old entry at that place is overwritten."],
        [Run(regs={"a": 0x5C}, mem={head: start}, out={base + start: 0x5C, head: (start + 1) % size})],
    )


@family
def swap_bytes_in_words(d: Dice) -> Row:
    base, count, at = low_ram(d), d.between(3, 50), loop(d)
    name, back = label(d, "swap", "ends"), leave(d)
    data = bytes((index * 17 + 1) & 255 for index in range(2 * count))
    swapped = b"".join(bytes((data[i + 1], data[i])) for i in range(0, 2 * count, 2))
    code = asm(
        f"{name}: | rep #$20 | ldx #{2 * (count - 1)} | {at}: | lda {x4(base)},x | xba | sta {x4(base)},x | dex | dex"
        f" | bpl {at} | sep #$20 | {back}"
    )
    return Row(
        instruction=d.pick(
            f"Turn {count} big-endian words at {x4(base)} into little-endian ones.",
            f"Swap the two bytes of every word in {x4(base)}-{x4(base + 2 * count - 1)}.",
        ),
        output=answer(
            code,
            "xba exchanges the two halves of the accumulator, and with A 16 bits wide both are stored back.",
            d.pick(f"{count} words take {count} passes.", "The index stays 8-bit, since it starts below $80."),
        ),
        code=code,
        runs=(Run(mem={base: data}, out={base: swapped}),),
    )
