"""Multiplication, division, signs, wide sums, decimal numbers and pseudo-random bytes."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, routine, x2, x4, x6


@family
def multiply_register(d: Dice) -> Row:
    factor, source, target = d.between(3, 250), low_ram(d), 0x1A00 + d.step(0, 0x80, 2)
    name, back = label(d, "times", str(factor)), leave(d)
    return routine(
        d,
        [
            f"Multiply the byte at {x4(source)} by {factor} with the hardware multiplier; 16-bit result to {x4(target)}.",
            f"Write {name} using $4202/$4203: {x4(target)} = {x4(source)} * {factor}.",
        ],
        f"{name}: | lda {x4(source)} | sta $4202 | lda #{factor} | sta $4203 | nop | nop | nop | rep #$20 | lda $4216"
        f" | sta {x4(target)} | sep #$20 | {back}",
        ["The product is ready 8 cycles after the write to $4203; the nops and rep cover that time."],
        ["Both factors are unsigned bytes.", "$4216/$4217 are read as one word, so A is 16 bits wide there."],
        [Run(mem={source: v}, out={target: le(v * factor)}) for v in (0, 3, 255)],
    )


@family
def divide_register(d: Dice) -> Row:
    divisor, source, target = d.between(2, 200), low_ram(d), 0x1A00 + d.step(0, 0x80, 4)
    name, back, rest = label(d, d.pick("divide", "split"), "by", str(divisor)), leave(d), d.chance(0.5)
    port, word = (0x4216, "remainder") if rest else (0x4214, "quotient")
    return routine(
        d,
        [
            f"Divide the word at {x4(source)} by {divisor} in hardware and store the {word} at {x4(target)}.",
            f"Write {name}: use $4204-$4206, keep the {word} in {x4(target)}; the dividend is the word {x4(source)}.",
        ],
        f"{name}: | rep #$20 | lda {x4(source)} | sta $4204 | sep #$20 | lda #{divisor} | sta $4206 | nop | nop | nop"
        f" | nop | nop | nop | nop | rep #$20 | lda {x4(port)} | sta {x4(target)} | sep #$20 | {back}",
        [f"The {word} stands at {x4(port)} 16 cycles after the divisor is written to $4206."],
        [
            "Seven nops take 14 cycles and rep takes 3 more, so the wait is long enough.",
            "The dividend is 16 bits, the divisor 8 bits, both unsigned.",
        ],
        [
            Run(mem={source: le(v)}, out={target: le(v % divisor if rest else v // divisor)})
            for v in (0, divisor - 1, 1000, 65535)
        ],
    )


@family
def multiply_by_shifts(d: Dice) -> Row:
    factor = d.pick(3, 5, 6, 9, 10, 12)
    scratch, name, back = d.step(0, 14, 2), label(d, "mul", str(factor)), leave(d)
    steps = {
        3: f"sta {x2(scratch)} | asl a | clc | adc {x2(scratch)}",
        5: f"sta {x2(scratch)} | asl a | asl a | clc | adc {x2(scratch)}",
        6: f"asl a | sta {x2(scratch)} | asl a | clc | adc {x2(scratch)}",
        9: f"sta {x2(scratch)} | asl a | asl a | asl a | clc | adc {x2(scratch)}",
        10: f"asl a | sta {x2(scratch)} | asl a | asl a | clc | adc {x2(scratch)}",
        12: f"asl a | asl a | sta {x2(scratch)} | asl a | clc | adc {x2(scratch)}",
    }[factor]
    how = {3: "2+1", 5: "4+1", 6: "4+2", 9: "8+1", 10: "8+2", 12: "8+4"}[factor]
    wide = d.chance(0.5)
    top = 65535 // factor if wide else 255 // factor
    body = f"rep #$20 | and #$00FF | {steps}" if wide else steps
    return routine(
        d,
        [
            f"Multiply the {'byte' if wide else 'value'} in A by {factor} with shifts, "
            + ("giving a 16-bit product in A on return." if wide else "8-bit result in A."),
            f"Write {name} without $4202: A = A * {factor}, " + ("return with 16-bit A." if wide else "A stays 8-bit."),
        ],
        f"{name}: | {body} | {back}",
        [f"{factor} is {how}, so two shifted copies are added."],
        [f"{x2(scratch)} holds one of the copies."]
        + (
            ["and #$00FF drops whatever the high half of A held.", "The caller gets A in 16-bit mode."]
            if wide
            else [f"Inputs above {top} overflow the byte."]
        ),
        [
            Run(regs={"a": 0x3300 * wide | v}, end={"a": v * factor} | ({"m": 0} if wide else {}))
            for v in (0, 7, min(top, 255))
        ],
    )


@family
def signed_compare(d: Dice) -> Row:
    one, limit = low_ram(d), d.between(-90, 90)
    name, back = label(d, "below", d.pick("limit", "bound")), leave(d)
    return routine(
        d,
        [
            f"Test whether the signed byte at {x4(one)} is less than {limit}; carry set if so.",
            f"Signed 8-bit compare: is {x4(one)} < {limit}? Return the result in the carry.",
        ],
        f"{name}: | lda {x4(one)} | sec | sbc #{x2(limit & 255)} | bvc @sign | eor #$80 | @sign: | bmi @less | clc | {back}"
        f" | @less: | sec | {back}",
        ["The true sign of the difference is N xor V: when the subtraction overflows, eor #$80 flips the sign bit."],
        [f"{limit} is {x2(limit & 255)} as a byte.", "cmp will not do here, because it does not set the V flag."],
        [
            Run(mem={one: v & 255}, end={"c": int(v < limit)})
            for v in (-128, 127, limit, max(-128, limit - 1), 0)
        ],
    )


@family
def absolute_value(d: Dice) -> Row:
    wide, name, back = d.chance(0.5), label(d, "abs", d.pick("diff", "value", "speed")), leave(d)
    where = low_ram(d)
    code = (
        f"{name}: | rep #$20 | lda {x4(where)} | bpl @done | eor #$FFFF | inc a | @done: | sta {x4(where)} | sep #$20 | {back}"
        if wide
        else f"{name}: | lda {x4(where)} | bpl @done | eor #$FF | inc a | @done: | sta {x4(where)} | {back}"
    )
    bits = 16 if wide else 8
    mask = (1 << bits) - 1
    return routine(
        d,
        [
            f"Replace the signed {bits}-bit value at {x4(where)} by its absolute value.",
            f"Write {name}: if {x4(where)} ({bits}-bit) is negative, negate it.",
        ],
        code,
        ["Negation in two's complement flips all bits and adds one: eor, then inc a."],
        [
            f"The most negative value, {-(1 << bits - 1)}, has no positive partner and stays as it is.",
            "lda sets N, so bpl needs no compare.",
        ],
        [Run(mem={where: le(v & mask, bits // 8)}, out={where: le(abs(v), bits // 8)}) for v in (5, -5, 0, -100)],
    )


@family
def sign_extend(d: Dice) -> Row:
    source, target = low_ram(d), 0x1A00 + d.step(0, 0x80, 2)
    name, back = label(d, d.pick("extend", "widen"), d.pick("speed", "offset", "sign")), leave(d)
    style = d.chance(0.5)
    code = (
        f"{name}: | lda {x4(source)} | sta {x4(target)} | stz {x4(target + 1)} | bpl @done | dec {x4(target + 1)} | @done: | {back}"
        if style
        else f"{name}: | rep #$20 | lda {x4(source)} | and #$00FF | cmp #$0080 | bcc @done | ora #$FF00 | @done:"
        f" | sta {x4(target)} | sep #$20 | {back}"
    )
    return routine(
        d,
        [
            f"Sign-extend the byte at {x4(source)} to a word at {x4(target)}.",
            f"Write {name}: {x4(target)} (16-bit) = signed byte {x4(source)}.",
        ],
        code,
        [
            "The high byte becomes $00, and dec turns it into $FF when the low byte is negative."
            if style
            else "Values from $80 up are negative bytes, so their high half is set to $FF."
        ],
        [
            "sta and stz leave the N flag of the lda alone, so bpl still sees the sign."
            if style
            else "and #$00FF removes the neighbour byte that the 16-bit load picked up."
        ],
        [
            Run(mem={source: v & 255, source + 1: 0x5A}, out={target: le(v)})
            for v in (0, 127, -1, -128)
        ],
    )


@family
def add_24_bits(d: Dice) -> Row:
    dp, amount = d.step(0x00, 0x0C, 3), d.pick(0x100, 0x800, 0x1000, d.between(0x200, 0x3FFF), d.between(0x10001, 0x3FFFF))
    name, back = label(d, "advance", d.pick("pointer", "source")), leave(d)
    start = 0x7EFF80
    end = (start + amount) & 0xFFFFFF
    return routine(
        d,
        [
            f"Add {x6(amount)} to the 24-bit number at {x2(dp)}-{x2(dp + 2)}.",
            f"Write {name}: three-byte addition of {x6(amount)} to the value at {x2(dp)}.",
        ],
        f"{name}: | clc | rep #$20 | lda {x2(dp)} | adc #{x4(amount & 0xFFFF)} | sta {x2(dp)} | sep #$20 | lda {x2(dp + 2)}"
        f" | adc #{x2(amount >> 16)} | sta {x2(dp + 2)} | {back}",
        ["The low word is added first; its carry goes into the third byte through the second adc."],
        ["rep and sep leave the carry alone when only bit 5 is given.", "A clc before the second adc would lose the carry."],
        [Run(mem={dp: le(start, 3)}, out={dp: le(end, 3)}), Run(mem={dp: le(5, 3)}, out={dp: le(5 + amount, 3)})],
    )


@family
def add_32_bits(d: Dice) -> Row:
    one, two = low_ram(d), 0x1A00 + d.step(0, 0x80, 4)
    minus, name, back = d.chance(0.5), label(d, "long", d.pick("sum", "update")), leave(d)
    flag, op = ("sec", "sbc") if minus else ("clc", "adc")
    sign = "-" if minus else "+"
    a, b = 0x0001FFF0, 0x00010020
    result = a - b if minus else a + b
    return routine(
        d,
        [
            f"32-bit {'subtraction' if minus else 'addition'}: {x4(one)} = {x4(one)} {sign} {x4(two)}.",
            f"{'Subtract' if minus else 'Add'} the four-byte number at {x4(two)} {'from' if minus else 'to'} the one at {x4(one)}.",
        ],
        f"{name}: | rep #$20 | {flag} | lda {x4(one)} | {op} {x4(two)} | sta {x4(one)} | lda {x4(one + 2)} | {op} {x4(two + 2)}"
        f" | sta {x4(one + 2)} | sep #$20 | {back}",
        [f"Two 16-bit steps suffice, and the carry links them, so {flag} appears once only."],
        ["sta and lda do not touch the carry.", "The numbers are little-endian: the low word comes first."],
        [Run(mem={one: le(a, 4), two: le(b, 4)}, out={one: le(result, 4)})],
    )


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
        f"{name}: | rep #$20 | sed | clc | lda {x4(where)} | adc #{x4(packed)} | sta {x4(where)} | cld | sep #$20 | {back}",
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
        f"{name}: | ldx #0 | {at}: | cmp #10 | bcc @ones | sbc #10 | inx | bra {at} | @ones: | {add}sta {x4(target + 1)}"
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
            f"For a hex display, store both nibbles of A from {x4(target)} on" + (f" plus {x2(base)}." if base else "."),
        ],
        f"{name}: | pha | lsr a | lsr a | lsr a | lsr a{add} | sta {x4(target)} | pla | and #$0F{add} | sta {x4(target + 1)} | {back}",
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
        f"{name}: | rep #$20 | lda {x4(where)} | cmp #{x4(low)} | bcs @above | lda #{x4(low)} | @above: | cmp #{x4(high)}"
        f" | bcc @done | lda #{x4(high)} | @done: | sta {x4(where)} | sep #$20 | {back}",
        ["The first compare raises values that are too small, the second lowers those that are too large."],
        ["bcc and bcs treat the words as unsigned.", "Both constants are two bytes, as 16-bit A requires."],
        [
            Run(mem={where: le(v)}, out={where: le(min(max(v, low), high))})
            for v in (0, low, (low + high) // 2, high, 0xFFFF)
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
        else f"{name}: | inc {x4(where)} | lda {x4(where)} | cmp #{size} | bcc @done | stz {x4(where)} | @done: | {back}"
    )
    return routine(
        d,
        [
            f"Move a menu cursor at {x4(where)} one step {'back' if down else 'on'}; it has {size} positions (0-{size - 1}).",
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
            f"Find the {'smallest' if least else 'largest'} unsigned word among {count} at {x4(base)}; return it in 16-bit A.",
            f"Write {name}: {'minimum' if least else 'maximum'} of {count} words at {x4(base)}, A stays 16-bit on return.",
        ],
        f"{name}: | rep #$20 | lda {x4(base)} | ldx #{2 * (count - 1)} | {at}: | cmp {x4(base)},x | {keep} @keep"
        f" | lda {x4(base)},x | @keep: | dex | dex | bne {at} | {back}",
        [f"A starts with the first word and takes over every {'smaller' if least else 'larger'} one it meets."],
        ["Entry 0 is already in A, so the loop may end at X = 0.", "The caller should sep #$20 when it needs 8-bit A."],
        [Run(mem={base: b"".join(le(v) for v in values)}, end={"a": best, "m": 0})],
    )
