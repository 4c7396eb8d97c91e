"""Decimal numbers, digits, ranges, averages, cycles of values and pseudo-random bytes."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, routine, x2, x4


@family
def bcd_add(d: Dice) -> Row:
    where, amount = low_ram(d), d.between(1, 99)
    packed = int(str(amount), 16)
    name, back = label(d, "score", "add"), leave(d)
    start = d.between(100, 9000)
    return routine(
        d,
        [
            f"Add {amount} to the four-digit BCD score at {x4(where)}.",
            f"Write {name} in decimal mode: packed BCD word {x4(where)} += {amount}.",
        ],
        f"{name}: | rep #$20 | sed | clc | lda {x4(where)} | adc #{x4(packed)} | sta {x4(where)} | cld | sep #$20 | "
        f"{back}",
        [f"In BCD the number {amount} is written {x4(packed)}, and sed makes adc carry at ten."],
        ["cld matters: leaving decimal mode on would spoil every later adc.", "Four digits fit in one 16-bit word."],
        [Run(mem={where: le(int(str(start), 16))}, out={where: le(int(str(start + amount), 16))}, end={"dec": 0})],
    )


@family
def to_decimal_digits(d: Dice) -> Row:
    target, at = low_ram(d), loop(d)
    tile = d.pick(0, 0x10, 0x30, 0x90)
    name, back = label(d, d.pick("digits", "print"), "byte"), leave(d)
    add = f"ora #{x2(tile)} | " if tile else ""
    extra = f" with tile base {x2(tile)}" if tile else ""
    return routine(
        d,
        [
            f"Split A (0-99) into two decimal digits at {x4(target)}{extra}.",
            f"Write {name}: tens to {x4(target)}, ones to {x4(target + 1)}{extra}; A is below 100.",
        ],
        f"{name}: | ldx #0 | {at}: | cmp #10 | bcc @ones | sbc #10 | inx | bra {at} | @ones: | {add}sta "
        f"{x4(target + 1)}"
        f" | txa | {add}sta {x4(target)} | {back}",
        ["Ten is taken away while it fits and X counts how often, which is the tens digit."],
        ["The carry is set when sbc is reached, so no sec is needed."]
        + ([f"ora works as an addition, because {x2(tile)} has its low four bits clear."] if tile else []),
        [Run(regs={"a": v}, out={target: bytes([tile | v // 10, tile | v % 10])}) for v in (0, 9, 10, 57, 99)],
    )


@family
def hex_digits(d: Dice) -> Row:
    target, name, back = low_ram(d), label(d, "nibbles", d.pick("out", "split")), leave(d)
    base = d.pick(0x00, 0x20, 0x40, 0x80, 0xE0)
    add = f" | ora #{x2(base)}" if base else ""
    return routine(
        d,
        [
            f"Split A into its two nibbles: high at {x4(target)}, low at {x4(target + 1)}"
            + (f", each or'ed with tile {x2(base)}." if base else "."),
            f"For a hex display, store both nibbles of A from {x4(target)} on"
            + (f" plus {x2(base)}." if base else "."),
        ],
        f"{name}: | pha | lsr a | lsr a | lsr a | lsr a{add} | sta {x4(target)} | pla | and #$0F{add} | sta "
        f"{x4(target + 1)} | {back}",
        ["Four shifts move the high nibble down; and #$0F isolates the low one."],
        ["The copy on the stack lets both halves start from the same value.", "A must be 8 bits wide for pha and pla."],
        [Run(regs={"a": v}, out={target: bytes([base | v >> 4, base | v & 15])}) for v in (0x00, 0x5A, 0xF7)],
    )


@family
def clamp_word(d: Dice) -> Row:
    where, low = low_ram(d), d.step(0x10, 0x200, 0x10)
    high = low + d.step(0x40, 0x400, 0x10)
    name, back = label(d, "clamp", d.pick("scroll", "camera", "value")), leave(d)
    return routine(
        d,
        [
            f"Clamp the 16-bit value at {x4(where)} to the range {x4(low)}-{x4(high)}.",
            f"Write {name}: keep {x4(where)} between {x4(low)} and {x4(high)} (unsigned words).",
        ],
        f"{name}: | rep #$20 | lda {x4(where)} | cmp #{x4(low)} | bcs @above | lda #{x4(low)} | @above: | cmp "
        f"#{x4(high)}"
        f" | bcc @done | lda #{x4(high)} | @done: | sta {x4(where)} | sep #$20 | {back}",
        ["The first compare raises values that are too small, the second lowers those that are too large."],
        ["bcc and bcs treat the words as unsigned.", "Both constants are two bytes, as 16-bit A requires."],
        [
            Run(mem={where: le(v)}, out={where: le(min(max(v, low), high))})
            for v in (0, low - 1, low, low + 1, (low + high) // 2, high - 1, high, high + 1, 0x8000, 0xFFFF)
        ],
    )


@family
def average(d: Dice) -> Row:
    one, two = low_ram(d), 0x1A00 + d.step(0, 0x80, 2)
    name, back = label(d, d.pick("mean", "middle", "average")), leave(d)
    return routine(
        d,
        [
            f"Average the unsigned bytes at {x4(one)} and {x4(two)}, result in A.",
            f"Write {name}: A = ({x4(one)} + {x4(two)}) / 2 without losing the ninth bit.",
        ],
        f"{name}: | lda {x4(one)} | clc | adc {x4(two)} | ror a | {back}",
        ["The sum may need nine bits; the ninth is the carry, and ror shifts it back in at the top."],
        ["lsr would drop that bit and give wrong results for sums above 255.", "The result is rounded down."],
        [Run(mem={one: a, two: b}, end={"a": (a + b) // 2}) for a, b in ((10, 21), (255, 255), (200, 100))],
    )


@family
def shift_divide_signed(d: Dice) -> Row:
    where, shift = low_ram(d), d.between(1, 4)
    name, back = label(d, "shrink", d.pick("speed", "offset")), leave(d)
    steps = " | ".join(["cmp #$80 | ror a"] * shift)
    return routine(
        d,
        [
            f"Divide the signed byte at {x4(where)} by {1 << shift} with arithmetic shifts.",
            f"Arithmetic shift right by {shift} of the signed byte {x4(where)}.",
        ],
        f"{name}: | lda {x4(where)} | {steps} | sta {x4(where)} | {back}",
        ["cmp #$80 copies the sign bit to the carry, and ror brings it in again at the top."],
        [
            "The result rounds toward minus infinity.",
            "The 65816 has no arithmetic right shift, hence the pair of instructions.",
        ],
        [Run(mem={where: v & 255}, out={where: (v >> shift) & 255}) for v in (100, -100, -1, 7)],
    )


@family
def lfsr_random(d: Dice) -> Row:
    seed, taps = low_ram(d), d.pick(0x1D, 0x2D, 0x4D, 0x5F, 0x63, 0x65, 0x69, 0x71)
    name, back = label(d, d.pick("random", "shuffle"), d.pick("byte", "next")), leave(d)

    def step(value: int) -> int:
        shifted = value << 1 & 0xFF
        return shifted ^ taps if value & 0x80 else shifted

    return routine(
        d,
        [
            f"Make a pseudo-random byte generator (LFSR, taps {x2(taps)}) with its state at {x4(seed)}.",
            f"Write {name}: advance an 8-bit shift register at {x4(seed)}, feedback {x2(taps)}, result in A.",
        ],
        f"{name}: | lda {x4(seed)} | asl a | bcc @plain | eor #{x2(taps)} | @plain: | sta {x4(seed)} | {back}",
        [f"The bit that asl moves to the carry decides whether {x2(taps)} is mixed in."],
        ["The state must never be 0, because 0 stays 0.", "The new state is also the result in A."],
        [Run(mem={seed: v}, out={seed: step(v)}, end={"a": step(v)}) for v in (1, 0x80, 0xC3)],
    )


@family
def modulo_power(d: Dice) -> Row:
    where, size = low_ram(d), d.pick(2, 4, 8, 16, 32, 64)
    name, back, amount = label(d, "cycle", d.pick("frame", "phase", "step")), leave(d), d.pick(1, 1, 2, 3)
    add = "inc a" if amount == 1 else f"clc | adc #{amount}"
    return routine(
        d,
        [
            f"Advance the animation counter at {x4(where)} by {amount}, wrapping at {size}.",
            f"{x4(where)} = ({x4(where)} + {amount}) mod {size}, please.",
        ],
        f"{name}: | lda {x4(where)} | {add} | and #{x2(size - 1)} | sta {x4(where)} | {back}",
        [f"{size} is a power of two, so the remainder is the low bits: and #{x2(size - 1)}."],
        ["No compare and no branch are needed.", "A holds the new counter on return."],
        [Run(mem={where: v}, out={where: (v + amount) % size}) for v in (0, size - 1, size // 2)],
    )


@family
def modulo_any(d: Dice) -> Row:
    where, size = low_ram(d), d.pick(3, 5, 6, 7, 9, 10, 12, 24, 60)
    name, back = label(d, "wrap", d.pick("slot", "menu", "cursor")), leave(d)
    down = d.chance(0.5)
    code = (
        f"{name}: | dec {x4(where)} | bpl @done | lda #{size - 1} | sta {x4(where)} | @done: | {back}"
        if down
        else f"{name}: | inc {x4(where)} | lda {x4(where)} | cmp #{size} | bcc @done | stz {x4(where)} | @done: | "
        f"{back}"
    )
    return routine(
        d,
        [
            f"Move a menu cursor at {x4(where)} one step {'back' if down else 'on'}; it has {size} positions "
            f"(0-{size - 1}).",
            f"{'Decrement' if down else 'Increment'} {x4(where)} with wrap-around among {size} values.",
        ],
        code,
        [
            f"dec on 0 gives $FF, which is negative, so bpl falls through and {size - 1} is stored."
            if down
            else f"When the counter reaches {size}, stz sets it back to 0."
        ],
        [f"{size} is no power of two, so an and mask would not do." if size & (size - 1) else "The range is small."],
        [Run(mem={where: v}, out={where: (v - 1 if down else v + 1) % size}) for v in (0, size - 1, 1)],
    )


@family
def square_table(d: Dice) -> Row:
    count, target, at = d.between(6, 16), low_ram(d), loop(d)
    name, back = label(d, "build", "squares"), leave(d)
    return routine(
        d,
        [
            f"Build a table of the squares 0 to {count - 1} (bytes) at {x4(target)} without multiplying.",
            f"Fill {count} bytes at {x4(target)} with n*n using additions only.",
        ],
        f"{name}: | ldx #0 | lda #0 | ldy #1 | {at}: | sta {x4(target)},x | sty $00 | clc | adc $00 | iny | iny | inx"
        f" | cpx #{count} | bne {at} | {back}",
        ["Squares differ by the odd numbers 1, 3, 5 and so on; Y holds the next difference."],
        [f"The last entry is {(count - 1) ** 2}, which fits a byte.", "Y goes through $00, since adc cannot add Y."],
        [Run(out={target: bytes(n * n for n in range(count))})],
    )


@family
def word_max(d: Dice) -> Row:
    base, count, at = low_ram(d), d.between(3, 30), loop(d)
    least = d.chance(0.5)
    name, back = label(d, "lowest" if least else "highest", "word"), leave(d)
    values = [(index * 7919 + 1234) & 0xFFFF for index in range(count)]
    keep = "bcc" if least else "bcs"
    best = min(values) if least else max(values)
    return routine(
        d,
        [
            f"Find the {'smallest' if least else 'largest'} unsigned word among {count} at {x4(base)}; return it in "
            f"16-bit A.",
            f"Write {name}: {'minimum' if least else 'maximum'} of {count} words at {x4(base)}, A stays 16-bit on "
            f"return.",
        ],
        f"{name}: | rep #$20 | lda {x4(base)} | ldx #{2 * (count - 1)} | {at}: | cmp {x4(base)},x | {keep} @keep"
        f" | lda {x4(base)},x | @keep: | dex | dex | bne {at} | {back}",
        [f"A starts with the first word and takes over every {'smaller' if least else 'larger'} one it meets."],
        ["Entry 0 is already in A, so the loop may end at X = 0.", "The caller should sep #$20 when it needs 8-bit A."],
        [
            Run(mem={base: b"".join(le(v) for v in turned)}, end={"a": best, "m": 0})
            for turned in (values, values[1:] + values[:1], values[::-1], sorted(values), sorted(values)[::-1])
        ],
    )
