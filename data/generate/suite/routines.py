"""Routines: any register widths, a dispatcher, counters for the HUD, an upload with the screen on, fewer bytes."""

from hafs.evaluation.rom.bus import CGRAM, VRAM
from hafs.evaluation.rom.case import RomCase
from hafs.evaluation.rom.task import RomTask

from ..asm.row import le, words, x2, x4, x6
from ..dice import Dice
from .build import CALLED, ROUTINE, family, made


@family
def any_width_call(d: Dice, k: int) -> RomTask:
    at, value = 0x7EF340 + d.between(0, 0x3F), d.between(2, 99)
    word = le(d.between(0x101, 0xFFFE))
    what, change, before, after = (
        (f"adds 1 to the byte at {x6(at)}", f"lda.l {x6(at)} | inc a | sta.l {x6(at)}", b"\x41", b"\x42"),
        (f"sets the byte at {x6(at)} to {value}", f"lda.b #{value} | sta.l {x6(at)}", b"\x00", bytes((value,))),
        (f"sets bit 7 of {x6(at)}", f"lda.l {x6(at)} | ora.b #$80 | sta.l {x6(at)}", b"\x21", b"\xa1"),
        (f"clears bit 0 of {x6(at)}", f"lda.l {x6(at)} | and.b #$FE | sta.l {x6(at)}", b"\x33", b"\x32"),
        (f"subtracts 2 from {x6(at)}", f"lda.l {x6(at)} | dec a | dec a | sta.l {x6(at)}", b"\x00", b"\xfe"),
        (f"inverts the byte at {x6(at)}", f"lda.l {x6(at)} | eor.b #$FF | sta.l {x6(at)}", word[:1],
         bytes((word[0] ^ 0xFF,))),
    )[k]  # fmt: skip
    cases = tuple(
        RomCase(
            regs={"a": 0x1234, "x": 0x56 if i else 0x5678, "y": 0x9A if i else 0x9ABC, "m": m, "i": i, "db": 0x7F},
            mem={at: before}, out={at: after},
            end={"a": 0x34 if m else 0x1234, "b": 0x12, "x": 0x56 if i else 0x5678, "y": 0x9A if i else 0x9ABC},
        )
        for m in (1, 0)
        for i in (1, 0)
    )  # fmt: skip
    return made(
        "any_width_call", k,
        f"Write a routine that {what}. It is called with jsl from code with 8- or 16-bit A and 8- or 16-bit X and Y, in any data "
        f"bank. All 16 bits of A, X, Y, the widths, D and the data bank must come back. {ROUTINE}",
        f"php | rep #$20 | pha | sep #$20 | {change} | rep #$20 | pla | plp | rtl",
        (f"php | sep #$20 | {change} | plp | rtl", f"rep #$20 | pha | sep #$20 | {change} | rep #$20 | pla | rtl"),
        cases=cases,
    )  # fmt: skip


@family
def state_dispatch(d: Dice, k: int) -> RomTask:
    state, base, count = d.pick(0x11, 0x0600, 0x0E80), d.step(0x0F00, 0x0F80, 8), 2 + k % 4
    values = [d.between(1, 200) for _ in range(count)]
    ways = [d.pick("store", "increment", "copy") for _ in range(count)]
    told, handlers, outs = [], [], []
    for n, (way, value) in enumerate(zip(ways, values, strict=True)):
        target, source = base + n, base + 0x20 + n
        told.append({
            "store": f"{n}: store {value} at {x4(target)}", "increment": f"{n}: add 1 to {x4(target)}",
            "copy": f"{n}: copy {x4(source)} to {x4(target)}",
        }[way])  # fmt: skip
        handlers.append(f".state{n}: | " + {
            "store": f"lda.b #{value} | sta.w {x4(target)}", "increment": f"inc.w {x4(target)}",
            "copy": f"lda.w {x4(source)} | sta.w {x4(target)}",
        }[way] + " | rts")  # fmt: skip
        outs.append({"store": value, "increment": 0x50 + n + 1, "copy": 0x90 + n}[way])
    start = {base + n: 0x50 + n for n in range(count)} | {base + 0x20 + n: 0x90 + n for n in range(count)}
    cases = tuple(
        RomCase(mem={state: n, **start}, out={base + m: outs[m] if m == n else 0x50 + m for m in range(count)})
        for n in (*range(count), count, 0x80, 0xFF)
    )
    table = ", ".join(f".state{n}" for n in range(count))
    load = f"Main: | lda {x2(state) if state < 256 else x4(state)}"
    tail = f"asl a | tax | jsr (.table,x) | .out: | rtl | .table: | dw {table} | " + " | ".join(handlers)
    return made(
        "state_dispatch", k,
        f"Write a dispatcher on the state byte at {x4(state)}. {'; '.join(told)}. Any other state does nothing. {CALLED} "
        f"{ROUTINE}",
        f"{load} | cmp.b #{count} | bcs .out | {tail}",
        (f"{load} | {tail}",),
        cases=cases,
    )  # fmt: skip


@family
def capped_counter(d: Dice, k: int) -> RomTask:
    at, hud, tile = 0x7EF360 + 2 * k, 0x7EC700 + d.step(0, 0x40, 2), d.step(0x2400, 0x3C00, 0x10)
    amount, most = d.pick(1, 5, 20, 50, 100), d.pick(999, 999, 500, 300, 750)
    digit = (
        f"ldy.w #{x4(tile)} | .{{0}}: | cmp.w #{{1}} | bcc .{{0}}_done | sbc.w #{{1}} | iny | bra .{{0}} | .{{0}}_done: "
        "| pha | tya | sta.l {2} | pla"
    )
    hundreds, tens = digit.format("hundreds", 100, x6(hud)), digit.format("tens", 10, x6(hud + 2))

    def routine(cap: str) -> str:
        return (
            f"Main: | php | rep #$30 | lda.l {x6(at)} | clc | adc.w #{amount} | {cap} | sta.l {x6(at)} | {hundreds} | {tens}"
            f" | clc | adc.w #{x4(tile)} | sta.l {x6(hud + 4)} | plp | rtl"
        )

    def case(value: int) -> RomCase:
        total = min(value + amount, most)
        shown = words(*(tile + int(letter) for letter in f"{total:03}"))
        return RomCase(mem={at: le(value)}, out={at: le(total), hud: shown})

    return made(
        "capped_counter", k,
        f"The 16-bit counter at {x6(at)} is save data. Add {amount} to it, at most up to {most}, and write it to the HUD as three "
        f"decimal digits, hundreds first: words at {x6(hud)}, {x6(hud + 2)} and {x6(hud + 4)}, each {x4(tile)} plus the digit. "
        f"{CALLED} {ROUTINE}",
        routine(f"cmp.w #{most + 1} | bcc .fits | lda.w #{most} | .fits:"),
        (routine("nop"),),
        cases=tuple(map(case, (0, 9 if most > 9 else 0, most - amount, most - amount + 1, most, d.between(10, most - 101)))),
    )  # fmt: skip


@family
def upload_screen_on(d: Dice, k: int) -> RomTask:
    source, size = 0x7E0000 + d.step(0x2000, 0x8000, 0x100), d.step(0x20, 0x200, 0x20)
    palette, channel = k % 3 == 2, d.between(0, 7)
    size = size if not palette else min(size, 0x100)
    place = d.step(0, 0x70, 0x10) if palette else d.step(0x1000, 0x6000, 0x100)
    base = 0x4300 + 16 * channel
    data = bytes((index * 37 + 11 * k + 5) & 255 for index in range(size))
    set_up = (
        f"lda.b #{x2(place)} | sta $2121 | rep #$20 | lda.w #$2200 | sta {x4(base)}"
        if palette
        else f"lda.b #$80 | sta $2115 | rep #$20 | lda.w #{x4(place)} | sta $2116 | lda.w #$1801 | sta {x4(base)}"
    )
    send = (
        f"{set_up} | lda.w #{x4(source & 0xFFFF)} | sta {x4(base + 2)} | lda.w #{x4(size)} | sta {x4(base + 5)} | sep #$20"
        f" | lda.b #$7E | sta {x4(base + 4)} | lda.b #{x2(1 << channel)} | sta $420B"
    )
    where = CGRAM + 2 * place if palette else VRAM + 2 * place
    goal = f"CGRAM from color {x2(place)} on" if palette else f"VRAM from word {x4(place)} on"
    cases = tuple(
        RomCase(mem={source: data, 0x13: level}, out={where: data, 0x2100: level}, screen="on")
        for level in (15, 15, 15)
    )
    return made(
        "upload_screen_on", k,
        f"Copy {x4(size)} bytes from {x6(source)} to {goal}. The routine is called while the screen is on, in the middle of a "
        f"frame; the screen is at full brightness ($0F, its copy is at $13) and must be so again when it returns. {CALLED} "
        f"{ROUTINE}",
        f"lda.b #$80 | sta $2100 | {send} | lda $13 | sta $2100 | rtl",
        (f"{send} | rtl", f"lda.b #$80 | sta $2100 | {send} | rtl"),
        cases=cases, most_steps=60_000, may_change=((0x2000, 0x5FFF),),
    )  # fmt: skip


@family
def fewer_bytes(d: Dice, k: int) -> RomTask:
    at, n, v = d.step(0x0400, 0x1700, 0x10), d.between(8, 100), d.between(2, 200)
    long, short, size, mem, out, end = (
        (f"lda.b #$00 | sta.w {x4(at)} | lda.b #$00 | sta.w {x4(at + 1)} | rtl", f"stz.w {x4(at)} | stz.w {x4(at + 1)} | rtl",
         7, {at: b"\x11\x22"}, {at: b"\0\0"}, {}),
        (f"lda.w {x4(at)} | clc | adc.b #$01 | sta.w {x4(at)} | rtl", f"inc.w {x4(at)} | rtl", 4, {at: 0xFF}, {at: 0}, {}),
        (f"ldx.b #$00 | lda.b #{v} | Loop: | sta.w {x4(at)},x | inx | cpx.b #{n} | bne Loop | rtl",
         f"ldx.b #{n - 1} | lda.b #{v} | Loop: | sta.w {x4(at)},x | dex | bpl Loop | rtl",
         11, {at: b"\x77" * (n + 1)}, {at: bytes((v,)) * n + b"\x77"}, {}),
        (f"lda.w {x4(at)} | sta.w {x4(at + 8)} | lda.w {x4(at + 1)} | sta.w {x4(at + 9)} | lda.w {x4(at + 2)} | "
         f"sta.w {x4(at + 10)} | lda.w {x4(at + 3)} | sta.w {x4(at + 11)} | rtl",
         f"rep #$20 | lda.w {x4(at)} | sta.w {x4(at + 8)} | lda.w {x4(at + 2)} | sta.w {x4(at + 10)} | sep #$20 | rtl",
         17, {at: b"\x12\x34\x56\x78"}, {at + 8: b"\x12\x34\x56\x78"}, {}),
        (f"lda.w {x4(at)} | cmp.b #$00 | bne Set | lda.b #{v} | sta.w {x4(at)} | Set: | rtl",
         f"lda.w {x4(at)} | bne Set | lda.b #{v} | sta.w {x4(at)} | Set: | rtl", 11, {at: 0}, {at: v}, {}),
        (f"lda.w {x4(at)} | and.b #$F0 | lsr a | lsr a | lsr a | lsr a | clc | adc.b #$00 | sta.w {x4(at)} | rtl",
         f"lda.w {x4(at)} | lsr a | lsr a | lsr a | lsr a | sta.w {x4(at)} | rtl", 11, {at: 0xB7}, {at: 0x0B}, {}),
    )[k]  # fmt: skip
    cases = [RomCase(mem=mem, out=out, end=end)]
    if k in (1, 4, 5):
        one, two = {1: (5, 6), 4: (7, 7), 5: (0x0F, 0)}[k]
        cases.append(RomCase(mem={at: one}, out={at: two}))
    shown = "\n".join(f"{'' if piece.endswith(':') else '  '}{piece}" for piece in long.split(" | "))
    return made(
        "fewer_bytes", k,
        f"Rewrite this routine so that it has the same effect on memory in at most {size} bytes (A, X and Y may differ):\n\n"
        f"{shown}\n\n{CALLED} {ROUTINE}",
        short, (long,), cases=tuple(cases), most_bytes=size,
    )  # fmt: skip
