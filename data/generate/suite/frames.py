"""Routines that run once per frame: a queue for the NMI handler, and buttons that are newly pressed."""

from hafs.evaluation.rom.bus import CGRAM, VRAM
from hafs.evaluation.rom.case import RomCase
from hafs.evaluation.rom.task import RomTask

from ..asm.row import le, words, x2, x4
from ..dice import Dice
from .build import CALLED, ROUTINE, family, made

BUTTONS = {
    "B": 0x8000,
    "Y": 0x4000,
    "Select": 0x2000,
    "Start": 0x1000,
    "A": 0x0080,
    "X": 0x0040,
    "L": 0x0020,
    "R": 0x0010,
}
"""Bits of the joypad word at $4218."""


@family
def nmi_queue(d: Dice, k: int) -> RomTask:
    base, each, palette = 0x1800 + 0x40 * k, 1 + k % 3, k >= 4
    entries = [(d.between(0, 127) if palette else d.step(0x1000, 0x7000, 0x21), d.between(1, 0x7FFF)) for _ in range(5)]
    entries = list(dict(entries).items())
    room = 8

    def cell(place: int) -> int:
        return (CGRAM if palette else VRAM) + 2 * place

    def queue(left: list[tuple[int, int]]) -> bytes:
        return bytes((len(left), 0)) + words(*(number for pair in left for number in pair))

    def shown(sent: int) -> dict[int, bytes | int]:
        return {cell(p): le(v) if n < sent else b"\x31\x42" for n, (p, v) in enumerate(entries)}

    def frame(number: int, given: list[tuple[int, int]]) -> RomCase:
        left = given[each * number :]
        out = {base: queue(left), **shown(min(each * number, len(entries)))}
        if number > 1:
            return RomCase(out=out, screen="vblank")
        start: dict[int, bytes | int] = {base + 2: bytes(4 * room), base: queue(given)}
        return RomCase(mem={**start, **{cell(p): b"\x31\x42" for p, _ in entries}}, out=out, screen="vblank",
                       frames=(frame(2, given), frame(3, given)))  # fmt: skip

    empty = RomCase(mem={base: b"\0\0"}, out={base: b"\0\0", **shown(0)}, screen="vblank")
    empty = RomCase(mem={**empty.mem, **{cell(p): b"\x31\x42" for p, _ in entries}}, out=empty.out, screen="vblank")
    send = (
        f"lda {x4(base + 2)} | sta $2121 | lda {x4(base + 4)} | sta $2122 | lda {x4(base + 5)} | sta $2122"
        if palette
        else f"rep #$20 | lda {x4(base + 2)} | sta $2116 | lda {x4(base + 4)} | sta $2118 | sep #$20"
    )
    set_up = "" if palette else "lda.b #$80 | sta $2115 | "
    move = (
        f"ldx.b #$00 | .move: | lda {x4(base + 6)},x | sta {x4(base + 2)},x | inx | cpx.b #{4 * room - 4} | bne .move"
    )

    def routine(budget: int) -> str:
        return (
            f"Main: | lda {x4(base)} | beq .done | {set_up}lda.b #{budget} | sta $00 | .entry: | {send} | dec {x4(base)} | "
            f"{move} | lda {x4(base)} | beq .done | dec $00 | bne .entry | .done: | rtl"
        )

    target = "CGRAM: the color's number" if palette else "VRAM: the word address"
    return made(
        "nmi_queue", k,
        f"The NMI handler calls this routine once per frame, in vertical blank. A queue is at {x4(base)}: a byte with the number "
        f"of entries, a byte 0, then up to {room} entries of two words from {x4(base + 2)} on, oldest first. An entry is a write to "
        f"{target}, then the word to write. Send at most {each} {'entry' if each == 1 else 'entries'} per frame, take what was "
        f"sent out of the queue, and move the rest to its front. {CALLED} {ROUTINE}",
        routine(each), (routine(each + 1),),
        cases=(frame(1, entries), empty), may_change=((0x7E0000 + base, 0x7E0000 + base + 4 * room + 6), (0x2000, 0x5FFF)),
    )  # fmt: skip


@family
def newly_pressed(d: Dice, k: int) -> RomTask:
    name = sorted(BUTTONS)[k]
    mask, other = BUTTONS[name], BUTTONS[sorted(BUTTONS)[k - 1]]
    old, target, value = 0xF0 + 2 * (k % 3), 0x0E00 + d.step(0, 0xF0, 2), d.between(1, 200)
    act, start, then = (
        (f"lda {x4(target)} | eor.b #$01 | sta {x4(target)}", 0x40, lambda now: now ^ 1),
        (f"inc {x4(target)}", 0x11, lambda now: now + 1),
        (f"dec {x4(target)}", 0x33, lambda now: now - 1),
        (f"lda {x4(target)} | eor.b #$80 | sta {x4(target)}", 0x05, lambda now: now ^ 0x80),
        (f"lda {x4(target)} | clc | adc.b #{value} | sta {x4(target)}", 3, lambda now: now + value & 255),
        (f"inc {x4(target)} | inc {x4(target)}", 7, lambda now: now + 2),
    )[k]
    what = ("toggle bit 0 of", "add 1 to", "subtract 1 from", "toggle bit 7 of", f"add {value} to", "add 2 to")[k]

    def play(pads: list[int], held_before: int) -> RomCase:
        now, frames, before = start, [], held_before
        for pad in pads:
            now = then(now) if pad & ~before & mask else now
            frames.append(RomCase(mem={0x4218: le(pad)}, out={target: now, old: le(pad)}))
            before = pad
        first = frames[0]
        mem = {**first.mem, target: start, old: le(held_before)}
        return RomCase(mem=mem, out=first.out, frames=tuple(frames[1:]))

    plays = [([mask, mask], 0), ([mask | other, mask], other), ([0, mask, mask, 0, mask], mask), ([other, other], 0),
             ([mask, 0, mask | other], mask)]  # fmt: skip
    word = f"rep #$20 | lda {x2(old)} | eor.w #$FFFF | and $4218 | tay | lda $4218 | sta {x2(old)} | tya"
    held = f"rep #$20 | lda $4218 | sta {x2(old)}"
    tail = f"and.w #{x4(mask)} | sep #$20 | beq .no | {act} | .no: | rtl"
    return made(
        "newly_pressed", k,
        f"This routine is called once per frame, after the automatic joypad read. {what[0].upper()}{what[1:]} {x4(target)} in the frame in "
        f"which {name} of controller 1 goes down, not while it is held. The word at {x2(old)} is yours to keep the buttons of the "
        f"frame before in: it must equal $4218 when the routine returns. {CALLED} {ROUTINE}",
        f"Main: | rep #$10 | {word} | {tail.replace('.no: | rtl', '.no: | sep #$10 | rtl')}",
        (f"Main: | {held} | {tail}",),
        cases=tuple(play(pads, before) for pads, before in plays),
    )  # fmt: skip
