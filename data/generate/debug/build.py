"""Faults that the assembler or the linker reports, with the messages of ca65 and ld65 2.18."""

from ..asm.row import label, x2, x4, x6
from ..dice import Dice
from .case import BUILD_ASKS, Case, cause, rejected, verdict


@cause
def wide_immediate(d: Dice) -> Case:
    value, where = d.between(256, 65535), d.step(0x600, 0x1F00, 2)
    op = d.pick("lda", "adc", "cmp", "and", "ora")
    code = f"php | clc | {op} #{x4(value)} | sta {x4(where)} | plp"
    return rejected(
        d, code, 2, f"Range error ({value} not in [0..255])",
        d.pick("the assembler takes A for 8 bits wide at this immediate.",
        "ca65 was never told that A is 16-bit here."),
        f"{value} is {x4(value)}, a two-byte constant in LINE, and no .a16 stands before it.",
        f"put `rep #$20` and `.a16` before `{op} #{x4(value)}`.",
    )  # fmt: skip


@cause
def wide_index(d: Dice) -> Case:
    value, reg = d.between(256, 65535), d.pick("x", "y")
    op = d.pick("ld", "cp")
    code = f"rep #$20 | lda $20 | {op}{reg} #{x4(value)} | sta $00"
    return rejected(
        d, code, 3, f"Range error ({value} not in [0..255])",
        d.pick(f"{reg.upper()} is still 8 bits wide for ca65.",
        "only the accumulator was widened, not the index registers."),
        f"rep #$20 sets bit 5 (A) alone, yet LINE gives {reg.upper()} the constant {x4(value)}.",
        "use `rep #$30` with `.a16` and `.i16`, or `rep #$10` with `.i16`.",
    )  # fmt: skip


@cause
def no_long_form(d: Dice) -> Case:
    address, op = (
        0x7EF340 + d.between(0, 0x3F),
        d.pick("inc", "dec", "stz", "ldx", "ldy", "bit", "asl", "tsb", "trb", "cpx"),
    )
    return rejected(
        d, f"lda #$01 | {op} {x6(address)} | rts", 1, "Illegal addressing mode",
        d.pick(f"{op} has no 24-bit addressing mode.", f"a long operand is not available for {op}."),
        f"the operand {x6(address)} in LINE needs three bytes, and only lda, sta, adc, sbc, and, ora, eor, cmp take "
        f"that.",
        f"go through A (`lda {x6(address)}` ...), or set DB to $7E and use `{op} {x4(address & 0xFFFF)}`.",
    )  # fmt: skip


@cause
def long_with_y(d: Dice) -> Case:
    address, op = 0x7F0000 + d.between(0x1000, 0xF000), d.pick("lda", "sta", "adc", "cmp")
    return rejected(
        d, f"ldy #$00 | {op} {x6(address)},y | iny", 1, "Range error: constant too large for assumed near address.",
        d.pick("long indexed addressing exists with X only.", "Y cannot index a 24-bit address."),
        f"LINE combines {x6(address)} with ,y, so ca65 falls back to absolute,y, which holds 16 bits.",
        f"use `{op} {x6(address)},x`, or a long pointer with `[dp],y`.",
    )  # fmt: skip


@cause
def undefined_symbol(d: Dice) -> Case:
    real = d.pick(
        "MenuRow",
        "TextPos",
        "CursorX",
        "FadeStep",
        "ChestId",
        "MapIndex",
        "ShakeTime",
        "TileBuffer",
        "WaveSpeed",
        "Score",
    )
    typo = d.pick(real.lower(), real.upper(), real + "s", real[:-1])
    value, op = d.between(0x0100, 0x1FFF), d.pick("lda", "sta", "cmp", "adc")
    why = (
        "the name is spelled differently from its definition"
        if typo.lower() != real.lower()
        else "symbols are case-sensitive"
    )
    return rejected(
        d, f"{real} = {x4(value)} | clc | {op} {typo} | rts", 2, f"Symbol '{typo}' is undefined",
        f"{why}.", f"{real} is defined, but LINE asks for {typo}.", f"write `{op} {real}`.",
    )  # fmt: skip


@cause
def duplicate_constant(d: Dice) -> Case:
    name, one = d.pick("Counter", "Timer", "Buffer", "State", "Cursor", "Flag", "Speed"), d.between(0x600, 0x1EFF)
    two = one + d.between(1, 64)
    return rejected(
        d, f"{name} = {x4(one)} | lda {name} | {name} = {x4(two)} | rts", 2, f"Symbol '{name}' is already defined",
        d.pick(f"{name} gets a second value.", "a constant made with = can be set once only."),
        f"it was {x4(one)} already when LINE defines it as {x4(two)}.",
        f"rename one of the two, for example {name}2, or drop the line if they are meant to be the same.",
    )  # fmt: skip


@cause
def branch_too_far(d: Dice) -> Case:
    name, op = label(d, "far", d.pick("exit", "loop", "end")), d.pick("bne", "beq", "bcc", "bcs", "bpl", "bmi", "bra")
    gap = d.between(130, 400)
    distance = -(gap + 3)
    other = {"bne": "beq", "beq": "bne", "bcc": "bcs", "bcs": "bcc", "bpl": "bmi", "bmi": "bpl"}.get(op)
    fix = f"`{other} @near`, `jmp {name}`, `@near:`" if other else f"`brl {name}` or `jmp {name}`"
    return rejected(
        d, f"{name}: | nop | .res {gap} | {op} {name} | rts", 3, f"Range error ({distance} not in [-128..127])",
        d.pick("a short branch reaches 127 bytes at most.", "the branch target is too far away."),
        f"{op} in LINE would have to go {-distance} bytes back, as the numbers {distance} and -128 show.",
        f"replace it by {fix}.",
    )  # fmt: skip


@cause
def misspelled_mnemonic(d: Dice) -> Case:
    wrong, right = d.pick(
        ("lad", "lda"), ("sat", "sta"), ("jrs", "jsr"), ("cpm", "cmp"), ("stay", "sty"), ("ldz", "lda"), ("bnz", "bne")
    )
    value = d.between(0x600, 0x1FFF)
    case = rejected(
        d, f"nop | {wrong} {x4(value)} | rts", 1, "':' expected",
        d.pick(f"{wrong} is not an instruction, so ca65 takes it for a label.",
        f"{wrong} is a typing error; a name at the start of a line is read as a label."),
        f"after the name {wrong} in LINE it wants the colon of a label and then calls {x4(value)} garbage.",
        f"write `{right} {x4(value)}`.",
    )  # fmt: skip
    number = case.messages[0].split(":")[0]
    return Case(
        **{**vars(case), "messages": (*case.messages, f"{number}: Error: Unexpected trailing garbage characters")}
    )


@cause
def missing_cpu(d: Dice) -> Case:
    op, value = d.pick("jsl", "jml", "pea", "stz", "tsb"), d.between(0x8000, 0xFFFF)
    operand = {"jsl": x6(value), "jml": x6(value), "pea": x4(value)}.get(op, x4(value & 0x0FFF | 0x1000))
    lead = d.pick("lda $10 | sta $00", "clc | lda #$05", "inc $1A | ldx #$02", "lda #$00 | tay", "sei | ldx #$10")
    case = rejected(
        d, f"{lead} | {op} {operand}", 2, "':' expected",
        d.pick("ca65 assembles for the 6502 here.", "the processor is the default 6502, which lacks this instruction."),
        f"{op} in LINE is a 65816 instruction, and the file has no .p816.",
        "add `.p816` as the first line or call `ca65 --cpu 65816`.",
        cpu="6502",
    )  # fmt: skip
    number = case.messages[0].split(":")[0]
    more = f"{number}: Error: Unexpected trailing garbage characters"
    lines = case.source.split("\n")
    bad = [k for k, line in enumerate(lines, 1) if line.split() and line.split()[0] in ("phb", "stz", "xba")]
    if bad:
        return missing_cpu(d)
    return Case(**{**vars(case), "messages": (*case.messages, more)})


@cause
def byte_too_large(d: Dice) -> Case:
    value, rest = d.between(256, 9000), [d.between(0, 255) for _ in range(3)]
    spot = d.between(0, 3)
    items = [x2(v) for v in rest]
    items.insert(spot, x4(value))
    return rejected(
        d, f"{label(d, 'data', 'table')}: | .byte {', '.join(items)}", 1, f"Range error ({value} not in [0..255])",
        d.pick("one entry does not fit a byte.", "the table mixes a word into a list of bytes."),
        f"{x4(value)} is {value}, more than 255, in the .byte of LINE.",
        f"use `.word` for the table, or take `<{x4(value)}` if the low byte is meant.",
    )  # fmt: skip


@cause
def open_proc(d: Dice) -> Case:
    name = label(d, d.pick("draw", "init", "update", "load"), d.pick("menu", "sprite", "room", "hud"))
    work = d.pick("lda $10 | sta $00", "inc $1A", "stz $0600 | stz $0602", "lda $22 | clc | adc #$08 | sta $22")
    return rejected(
        d, f".proc {name} | {work} | rts", 0, "Local scope was not closed",
        d.pick(f".proc {name} has no end.", "a .proc needs its .endproc."),
        "the error is reported at the end of the file (LINE), so a block was still open there.",
        f"add `.endproc` after the rts of {name}.", end=True,
    )  # fmt: skip


@cause
def orphan_local(d: Dice) -> Case:
    name, op = d.pick("@loop", "@skip", "@done", "@next", "@wait"), d.pick("bra", "bne", "beq", "bcc")
    lead = d.pick("lda $10", "dex", "dey", "dec $00")
    return rejected(
        d, f"{lead} | {op} {name} | rts", 1, "No preceeding global symbol",
        d.pick("a local @label belongs to the last ordinary label, and there is none.",
        f"{name} is used before any normal label."),
        f"no label without @ stands above LINE, which refers to {name}.",
        f"give the routine a name (`Update:`) above, and define `{name}:` below it.",
    )  # fmt: skip


@cause
def open_string(d: Dice) -> Case:
    text = d.pick(
        "SAVE", "QUIT", "HEART", "ITEM GET", "GAME OVER", "PRESS START", "RUPEES", "LEVEL", "MAP", "COMPASS", "BOSS KEY"
    )
    return rejected(
        d, f'{label(d, "text", "line")}: | .byte "{text}', 1, "Newline in string constant",
        d.pick("the closing quote is missing.", "a string may not run over the end of the line."),
        f"the text in LINE starts with a quote before {text} and never ends.", f'write `.byte "{text}"`.',
    )  # fmt: skip


@cause
def open_if(d: Dice) -> Case:
    name, value = d.pick("DEBUG", "FASTROM", "NEW_HUD", "HARD_MODE", "PAL"), d.between(0, 1)
    work = d.pick("lda #$01", "inc $0600", "stz $0700", "jsr $9000")
    source = f".p816\n{name} = {value}\n.if {name}\n  {work}\n"
    return Case(
        instruction=d.of(BUILD_ASKS),
        input=f"hack.s(3): Error: Conditional assembly branch was never closed\n\n{source.rstrip()}",
        output=verdict(
            d.pick(f"the .if {name} block has no .endif.", "an .if was opened and not closed."),
            f"the message names line 3, where the block begins, and the file ends after `{work}`.",
            f"put `.endif` after `{work}`.",
        ),
        source=source,
        messages=("(3): Error: Conditional assembly branch was never closed",),
    )


@cause
def missing_paren(d: Dice) -> Case:
    dp, op = d.step(0x00, 0x7E, 2), d.pick("lda", "sta", "cmp", "adc")
    return rejected(
        d, f"ldy #$00 | {op} ({x2(dp)} | rts", 1, "')' expected",
        d.pick("the parenthesis of the indirect operand is not closed.", "indirect addressing needs both parentheses."),
        f"LINE opens ( before {x2(dp)} and ends without ).", f"write `{op} ({x2(dp)}),y` or `{op} ({x2(dp)})`.",
    )  # fmt: skip


@cause
def index_with_itself(d: Dice) -> Case:
    op, reg, good = d.pick(("stx", "x", "y"), ("sty", "y", "x"))
    dp = d.between(0x10, 0x7F)
    return rejected(
        d, f"ld{reg} #$02 | {op} {x2(dp)},{reg} | rts", 1, "Illegal addressing mode",
        f"{op} cannot be indexed by {reg.upper()} itself.",
        f"LINE asks for {op} {x2(dp)},{reg}; only ,{good} exists, on direct page.",
        f"use `t{reg}a` and `sta {x2(dp)},{reg}`.",
    )  # fmt: skip


@cause
def segment_overflow(d: Dice) -> Case:
    size, over = d.pick(0x100, 0x200, 0x400, 0x800, 0x8000), d.between(1, 300)
    segment, area = d.pick(("CODE", "ROM0"), ("BANK20", "EXP1"), ("GFX", "ROM5"), ("TEXT", "ROM2"), ("HOOKS", "FREE"))
    line = d.between(2, 9)
    return Case(
        instruction=d.of(
            (
                "The linker complains.",
                "ld65 fails. What now?",
                "Link error, please explain.",
                "Why is there no ROM file?",
            )
        ),
        input=f"ld65: Warning: snes.cfg({line}): Segment '{segment}' overflows memory area '{area}' by {over} bytes\n"
        f"ld65: Error: Cannot generate most of the files due to memory area overflow\n\n{area}: start=$8000, "
        f"size={x4(size)};",
        output=verdict(
            d.pick(f"segment {segment} is larger than its memory area.", f"{area} has no room for all of {segment}."),
            f"{area} holds {size} bytes, the segment is {over} longer, so it has {size + over} bytes.",
            f"move at least {over} bytes to a segment in another area, or enlarge {area} if the bank has space.",
        ),
    )


@cause
def unresolved_external(d: Dice) -> Case:
    name = label(d, d.pick("play", "draw", "load", "spawn"), d.pick("music", "tile", "room", "sprite", "text"))
    line, one, two = d.between(4, 80), d.pick("main", "hooks", "hud"), d.pick("audio", "video", "objects")
    return Case(
        instruction=d.of(
            ("The linker complains.", "Linking stops here.", "Every file assembles, but then this.", "What is missing?")
        ),
        input=f"Unresolved external '{name}' referenced in:\n  {one}.s({line})\n"
        f"ld65: Error: 1 unresolved external(s) found - cannot create output file\n\n{one}.s: .import "
        f"{name}\n{two}.s: {name}: ...",
        output=verdict(
            d.pick(f"{name} is imported but no object file exports it.", f"{two}.s keeps {name} to itself."),
            f"{one}.s has .import {name} and uses it in line {line}; {two}.s defines it without .export.",
            f"add `.export {name}` to {two}.s and pass {two}.o to ld65.",
        ),
    )
