"""Arithmetic around the code: LoROM addresses, cycles, bytes, machine code, colors, tiles and branches."""

from ..dice import Dice
from .row import Row, asm, family, leave, loop, x2, x4, x6


def fact(d: Dice, ask: list[str], output: str, **more: object) -> Row:
    """A row of arithmetic alone."""
    return Row(instruction=d.of(ask), output=output, **more)  # type: ignore[arg-type]


@family
def lorom_to_file(d: Dice) -> Row:
    bank, address, header = d.between(0, 0x3F) | d.pick(0, 0x80), d.between(0x8000, 0xFFFF), d.chance(0.3)
    base = bank & 0x7F
    offset = base * 0x8000 + address - 0x8000 + (0x200 if header else 0)
    what = "a ROM with a 512-byte copier header" if header else "a headerless ROM"
    steps = f"{x2(base)} * $8000 = {x6(base * 0x8000)}, plus {x4(address)} - $8000 = {x4(address - 0x8000)}"
    mirror = f"Bank {x2(bank)} is the same ROM as bank {x2(base)}. " if bank & 0x80 else ""
    return fact(
        d,
        [
            f"LoROM address ${bank:02X}:{address:04X} to file offset, {what}?",
            f"Where in the file ({what}, LoROM) is {x6(bank << 16 | address)}?",
            f"Convert {x6(bank << 16 | address)} to a PC offset; LoROM, {what}.",
        ],
        f"{mirror}{steps}{', plus $200 for the header' if header else ''}. The file offset is {x6(offset)}.",
    )


@family
def file_to_lorom(d: Dice) -> Row:
    offset = d.between(0, 0x1FFFFF)
    bank, address = offset // 0x8000, 0x8000 + offset % 0x8000
    fast = d.chance(0.4)
    shown = (bank | 0x80 if fast else bank) << 16 | address
    kind = "the $80-$BF mirror" if fast else "the $00-$3F banks"
    return fact(
        d,
        [
            f"Which LoROM address belongs to headerless file offset {x6(offset)} (use {kind})?",
            f"PC {x6(offset)} to SNES, LoROM, no header, in {kind}.",
        ],
        f"{x6(offset)} / $8000 = {x2(bank)} with remainder {x4(offset % 0x8000)}. The bank is {x2(shown >> 16)} and "
        f"the address "
        f"$8000 + {x4(offset % 0x8000)}, so it is {x6(shown)}.",
    )


_CYCLES = {
    "lda #imm": (2, 1), "lda dp": (3, 1), "lda abs": (4, 1), "lda long": (5, 1), "sta dp": (3, 1), "sta abs": (4, 1),
    "sta long": (5, 1), "stz abs": (4, 1), "adc #imm": (2, 1), "and #imm": (2, 1), "pha": (3, 1), "pla": (4, 1),
    "clc": (2, 0), "inc a": (2, 0), "asl a": (2, 0), "tax": (2, 0), "xba": (3, 0), "nop": (2, 0),
}  # fmt: skip
"""Cycles with an 8-bit accumulator and the extra cycles with a 16-bit one; D low byte 0."""


def _operand(d: Dice, name: str, wide: bool) -> str:
    values = {
        "#imm": f"#{x4(d.between(256, 65535)) if wide else x2(d.between(0, 255))}", "dp": x2(d.between(16, 127)),
        "abs": x4(d.between(0x600, 0x1FFF)), "long": x6(0x7F0000 + d.between(0x2000, 0xFFFF)),
    }  # fmt: skip
    op, _, mode = name.partition(" ")
    return f"{op} {values.get(mode, mode)}".strip()


_BYTES = {"#imm": 2, "dp": 2, "abs": 3, "long": 4}


@family
def count_cycles(d: Dice) -> Row:
    names, wide = [d.of(sorted(_CYCLES)) for _ in range(d.between(3, 5))], d.chance(0.4)
    lines = [_operand(d, name, wide) for name in names]
    cycles = [_CYCLES[name][0] + (_CYCLES[name][1] if wide else 0) for name in names]
    body = asm(" | ".join(lines))
    width = "16-bit" if wide else "8-bit"
    return Row(
        instruction=d.pick(
            f"How many cycles does this take with an {width} accumulator?"
            if not wide
            else "How many cycles does this take with a 16-bit accumulator?",
            f"Add up the CPU cycles ({width} A, low byte of D is 0).",
            f"Cycle count, please: {width} A, native mode, D = 0.",
        ),
        input=body,
        output="; ".join(
            f"{line.split(' #')[0] if '#' in line else line}: {n}" for line, n in zip(lines, cycles, strict=True)
        )
        + f". The sum is {sum(cycles)} CPU cycles.",
        code=asm(("rep #$20 | " if wide else "") + " | ".join(lines)),
    )


@family
def count_bytes(d: Dice) -> Row:
    names, wide = [d.of(sorted(_CYCLES)) for _ in range(d.between(3, 6))], d.chance(0.3)
    lines = [_operand(d, name, wide) for name in names]
    sizes = [_BYTES.get(name.partition(" ")[2], 1) + (1 if wide and "#" in name else 0) for name in names]
    width = "16-bit" if wide else "8-bit"
    return Row(
        instruction=d.pick(
            f"How many bytes of machine code are these lines ({width} A)?",
            f"Size of this snippet in bytes? The accumulator is {width}.",
            f"Will this fit into {sum(sizes) + d.between(-2, 3)} bytes? State the exact size ({width} A).",
        ),
        input=asm(" | ".join(lines)),
        output="Sizes in order: " + " + ".join(map(str, sizes)) + f" = {sum(sizes)} bytes.",
        code=asm(("rep #$20 | " if wide else "") + " | ".join(lines)),
        size=sum(sizes) + (2 if wide else 0),
    )


_OPCODES = {
    "lda #": 0xA9, "ldx #": 0xA2, "ldy #": 0xA0, "cmp #": 0xC9, "adc #": 0x69, "sbc #": 0xE9, "and #": 0x29,
    "ora #": 0x09,
    "eor #": 0x49, "lda abs": 0xAD, "sta abs": 0x8D, "stz abs": 0x9C, "inc abs": 0xEE, "dec abs": 0xCE, "jsr abs": 0x20,
    "jmp abs": 0x4C, "lda long": 0xAF, "sta long": 0x8F, "jsl long": 0x22, "jml long": 0x5C, "sta longx": 0x9F,
    "lda longx": 0xBF,
    "rep #": 0xC2, "sep #": 0xE2, "tsb abs": 0x0C, "trb abs": 0x1C, "ora long": 0x0F, "cmp long": 0xCF,
}  # fmt: skip


@family
def machine_code(d: Dice) -> Row:
    name = d.of(sorted(_OPCODES))
    op, mode = name.split()
    opcode = _OPCODES[name]
    size = {"#": 1, "abs": 2, "long": 3, "longx": 3}[mode]
    value = {1: d.between(0, 255), 2: d.between(0x600, 0x1FFF), 3: 0x7E0000 + d.between(0x2000, 0x1FFFF)}[size]
    if mode == "#" and op in ("rep", "sep"):
        value = d.pick(0x10, 0x20, 0x30, 0x08)
    text = {
        "#": f"{op} #{x2(value)}",
        "abs": f"{op} {x4(value)}",
        "long": f"{op} {x6(value)}",
        "longx": f"{op} {x6(value)},x",
    }[mode]
    code = bytes([opcode]) + value.to_bytes(size, "little")
    shown = " ".join(f"{byte:02X}" for byte in code)
    note = {
        "#": "the 8-bit operand follows the opcode", "abs": "the address follows low byte first",
        "long": "low byte, high byte and bank follow", "longx": "low byte, high byte and bank follow",
    }[mode]  # fmt: skip
    wide = " with 8-bit registers" if mode == "#" and op not in ("rep", "sep") else ""
    back = d.chance(0.4)
    return Row(
        instruction=d.pick(f"Disassemble the bytes {shown}{wide}.", f"Which instruction is {shown}{wide}?")
        if back
        else d.pick(
            f"Machine code of `{text}`{wide}?",
            f"Hand-assemble `{text}`{wide}.",
            f"Which bytes does `{text}` become{wide}?",
        ),
        output=f"{shown} is `{text}`: {opcode:02X} is the opcode and {note}."
        if back
        else f"`{text}` is {shown}: the opcode is {opcode:02X} and {note}.",
        code=asm(text),
        encoded=code,
    )


@family
def branch_operand(d: Dice) -> Row:
    op, opcode = d.pick(
        ("bne", 0xD0), ("beq", 0xF0), ("bcc", 0x90), ("bcs", 0xB0), ("bpl", 0x10), ("bmi", 0x30), ("bra", 0x80)
    )
    here = d.between(0x8200, 0xFE00)
    target = here + 2 + d.between(-190, 190)
    distance = target - here - 2
    if -128 <= distance <= 127:
        end = f"That fits a signed byte, so the code is {opcode:02X} {distance & 255:02X}."
    else:
        end = f"That is outside -128 to 127, so {op} cannot reach it; " + (
            "brl or jmp can." if op == "bra" else "invert the condition and branch over a jmp."
        )
    return fact(
        d,
        [
            f"{op} at {x4(here)} should go to {x4(target)}. Which operand?",
            f"Encode `{op}` from {x4(here)} to {x4(target)}.",
            f"Can a {op} at {x4(here)} reach {x4(target)}?",
        ],
        f"The distance counts from the next instruction, {x4(here + 2)}: {x4(target)} - {x4(here + 2)} = "
        f"{distance}. {end}",
    )


@family
def negative_byte(d: Dice) -> Row:
    wide = d.chance(0.4)
    value = d.between(2, 32000 if wide else 127)
    bits = 16 if wide else 8
    raw = (1 << bits) - value
    text = x4(raw) if wide else x2(raw)
    if d.chance(0.5):
        ask = [f"How do I write -{value} as {bits}-bit hex?", f"Two's complement of {value} in {bits} bits?"]
    else:
        ask = [f"Which signed number is the {bits}-bit value {text}?", f"{text} as a signed {bits}-bit number?"]
    return fact(d, ask, f"${(1 << bits):X} - {value} = {text}, so {text} stands for -{value} in {bits} bits.")


@family
def loop_cost(d: Dice) -> Row:
    count, long_store = d.between(4, 200), d.chance(0.5)
    store, cost = ("sta $7F4000,x", 5) if long_store else ("sta $0800,x", 5)
    at = loop(d)
    body = asm(f"lda #0 | ldx #{count} | {at}: | {store} | dex | bne {at} | {leave(d)}")
    per = cost + 2 + 3
    total = per * count - 1
    return Row(
        instruction=d.pick("How many cycles does the loop alone take (8-bit A and X)?",
                           "Cycles spent between the label and the end of the last bne, all passes, 8-bit registers?"),
        input=body,
        output=f"One pass is {store.split()[0]} {cost} + dex 2 + bne 3 = {per} cycles. {count} passes make "
               f"{per * count}, and the last bne "
        f"is not taken and saves 1, so the loop takes {total} cycles.",
        code=body,
    )  # fmt: skip


@family
def which_mode(d: Dice) -> Row:
    case = d.between(0, 4)
    dp, low, far, n = (
        d.between(0x10, 0x7F),
        d.between(0x600, 0x1FFF),
        0x7F0000 + d.between(0x2000, 0xF000),
        d.between(2, 60),
    )
    ask, code, why, size = (
        (f"read the variable {x2(dp)} with D = 0", f"lda {x2(dp)}", "direct page is the shortest form, two bytes", 2),
        (f"read {x4(low)} + X in the data bank", f"lda {x4(low)},x", "absolute indexed adds X to a 16-bit address", 3),
        (f"read {x6(far)} + X while DB is $00", f"lda {x6(far)},x", "absolute long indexed carries its own bank", 4),
        (f"read byte {n} behind the 24-bit pointer at {x2(dp)}", f"ldy #{n} | lda [{x2(dp)}],y",
        "square brackets mean a three-byte pointer", 4),
        (f"read byte {n} behind the 16-bit pointer at {x2(dp)} in the data bank", f"ldy #{n} | lda ({x2(dp)}),y",
        "round brackets mean a two-byte pointer and the bank from DB", 4),
    )[case]  # fmt: skip
    body = asm(code)
    return Row(
        instruction=d.pick(
            f"Which addressing mode do I take to {ask}?",
            f"I want to {ask}. Which form of lda?",
            f"Shortest way to {ask}?",
        ),
        output=f"```asm\n{body}\n```\nHere {why}; the code takes {size} bytes.",
        code=body,
        size=size,
    )
