"""Searching, summing, swapping and reworking lists in memory."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, answer, asm, family, label, le, leave, loop, routine, x2, x4, x6


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
    target, count, value, at = (
        0x10000 * d.pick(0, 1) + d.step(0x3000, 0x9000, 0x80),
        d.between(4, 200),
        d.between(0, 255),
        loop(d),
    )
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
            f"$2181-$2183 take a 17-bit address; bit 16 is {target >> 16}, so the bank is "
            f"${0x7E + (target >> 16):02X}.",
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
