"""Multiplication, division, signs, wide sums, decimal numbers and pseudo-random bytes."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, routine, x2, x4, x6


@family
def multiply_register(d: Dice) -> Row:
    factor, source, target = d.between(3, 250), low_ram(d), 0x1A00 + d.step(0, 0x80, 2)
    name, back = label(d, "times", str(factor)), leave(d)
    return routine(
        d,
        [
            f"Multiply the byte at {x4(source)} by {factor} with the hardware multiplier; 16-bit result to "
            f"{x4(target)}.",
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
        f"{name}: | lda {x4(one)} | sec | sbc #{x2(limit & 255)} | bvc @sign | eor #$80 | @sign: | bmi @less | clc "
        f"| {back}"
        f" | @less: | sec | {back}",
        ["The true sign of the difference is N xor V: when the subtraction overflows, eor #$80 flips the sign bit."],
        [f"{limit} is {x2(limit & 255)} as a byte.", "cmp will not do here, because it does not set the V flag."],
        [Run(mem={one: v & 255}, end={"c": int(v < limit)}) for v in (-128, 127, limit, max(-128, limit - 1), 0)],
    )


@family
def absolute_value(d: Dice) -> Row:
    wide, name, back = d.chance(0.5), label(d, "abs", d.pick("diff", "value", "speed")), leave(d)
    where = low_ram(d)
    code = (
        f"{name}: | rep #$20 | lda {x4(where)} | bpl @done | eor #$FFFF | inc a | @done: | sta {x4(where)} | sep "
        f"#$20 | {back}"
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
        f"{name}: | lda {x4(source)} | sta {x4(target)} | stz {x4(target + 1)} | bpl @done | dec {x4(target + 1)} | "
        f"@done: | {back}"
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
        [Run(mem={source: v & 255, source + 1: 0x5A}, out={target: le(v)}) for v in (0, 127, -1, -128)],
    )


@family
def add_24_bits(d: Dice) -> Row:
    dp, amount = (
        d.step(0x00, 0x0C, 3),
        d.pick(0x100, 0x800, 0x1000, d.between(0x200, 0x3FFF), d.between(0x10001, 0x3FFFF)),
    )
    name, back = label(d, "advance", d.pick("pointer", "source")), leave(d)
    start = 0x7EFF80
    end = (start + amount) & 0xFFFFFF
    return routine(
        d,
        [
            f"Add {x6(amount)} to the 24-bit number at {x2(dp)}-{x2(dp + 2)}.",
            f"Write {name}: three-byte addition of {x6(amount)} to the value at {x2(dp)}.",
        ],
        f"{name}: | clc | rep #$20 | lda {x2(dp)} | adc #{x4(amount & 0xFFFF)} | sta {x2(dp)} | sep #$20 | lda "
        f"{x2(dp + 2)}"
        f" | adc #{x2(amount >> 16)} | sta {x2(dp + 2)} | {back}",
        ["The low word is added first; its carry goes into the third byte through the second adc."],
        [
            "rep and sep leave the carry alone when only bit 5 is given.",
            "A clc before the second adc would lose the carry.",
        ],
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
            f"{'Subtract' if minus else 'Add'} the four-byte number at {x4(two)} {'from' if minus else 'to'} the "
            f"one at {x4(one)}.",
        ],
        f"{name}: | rep #$20 | {flag} | lda {x4(one)} | {op} {x4(two)} | sta {x4(one)} | lda {x4(one + 2)} | {op} "
        f"{x4(two + 2)}"
        f" | sta {x4(one + 2)} | sep #$20 | {back}",
        [f"Two 16-bit steps suffice, and the carry links them, so {flag} appears once only."],
        ["sta and lda do not touch the carry.", "The numbers are little-endian: the low word comes first."],
        [Run(mem={one: le(a, 4), two: le(b, 4)}, out={one: le(result, 4)})],
    )
