"""Patches of an image: a hook with a byte budget, and the repair of a crash by a few changed bytes."""

from hafs.evaluation.rom.case import RomCase
from hafs.evaluation.rom.task import RomTask

from ..asm.row import le, x2, x4, x6
from ..dice import Dice
from .build import PATCH, family, made

Listing = list[tuple[str, str]]


def listed(address: int, lines: Listing) -> str:
    """A listing as a debugger shows it: address, bytes, instruction."""
    shown = []
    for data, text in lines:
        size = len(bytes.fromhex(data))
        spaced = " ".join(data[k : k + 2].upper() for k in range(0, len(data), 2))
        shown.append(f"{address >> 16:02X}:{address & 0xFFFF:04X}  {spaced:<12} {text}")
        address += size
    return "\n".join(shown)


def joined(lines: Listing) -> str:
    """The bytes of a listing."""
    return "".join(data for data, _ in lines)


def word(value: int) -> str:
    """A word as its two bytes in hexadecimal."""
    return le(value).hex()


@family
def hook_budget(d: Dice, k: int) -> RomTask:
    bank, site = d.pick(0x00, 0x02, 0x05, 0x0A), 0x8000 + d.step(0x100, 0x6F00, 0x10)
    where, free = bank << 16 | site, (0x10 + k) << 16 | 0x8000
    source, amount, extra = d.step(0x0E00, 0x0F00, 0x10), d.between(2, 20), 0x7EF3C0 + d.between(0, 0x2F)
    lines = [
        (f"ad{word(source)}", f"LDA {x4(source)}"), ("18", "CLC"), (f"69{amount:02x}", f"ADC #{x2(amount)}"),
        (f"8d{word(source)}", f"STA {x4(source)}"), ("6b", "RTL"),
    ]  # fmt: skip
    value = d.between(1, 200)
    what, effect, before, after = (
        (f"adds 1 to the byte at {x6(extra)}", f"lda.l {x6(extra)} | inc a | sta.l {x6(extra)}", 0x20, 0x21),
        (f"sets bit 6 of {x6(extra)}", f"lda.l {x6(extra)} | ora.b #$40 | sta.l {x6(extra)}", 0x05, 0x45),
        (f"stores {value} at {x6(extra)}", f"lda.b #{value} | sta.l {x6(extra)}", 0, value),
        (f"copies the frame counter $1A to {x6(extra)}", f"lda $1A | sta.l {x6(extra)}", 0, 0x77),
        (f"subtracts 1 from {x6(extra)}", f"lda.l {x6(extra)} | dec a | sta.l {x6(extra)}", 0, 0xFF),
        (f"toggles bit 0 of {x6(extra)}", f"lda.l {x6(extra)} | eor.b #$01 | sta.l {x6(extra)}", 0x11, 0x10),
    )[k]
    cases = tuple(
        RomCase(mem={source: start, extra: before, 0x1A: 0x77}, out={source: start + amount & 255, extra: after})
        for start in (1, 0xFE, 0x40)
    )
    budget = 4 + (14, 15, 11, 11, 14, 15)[k]
    hook = f"org {x6(where)} | jsl {x6(free)} | org {x6(free)} | {effect} | lda.w {x4(source)} | clc | rtl"
    return made(
        "hook_budget", k,
        f"The game has this routine, which is called with jsl and 8-bit registers, D = 0, DB = $00:\n\n{listed(where, lines)}\n\n"
        f"Hook it so that it also {what} each time, and still does all that it did. Change only its first four bytes and free "
        f"space at {x6(free)}-{x6(free | 0xFF)}; at most {budget} bytes of the image may change. {PATCH}",
        hook,
        (f"org {x6(where)} | jsl {x6(free)} | org {x6(free)} | {effect} | rtl",
         f"org {x6(where)} | jsl {x6(free)} | org {x6(free)} | nop | nop | nop | nop | {effect} | lda.w {x4(source)} | clc | rtl"),
        kind="patch", image={where: joined(lines)}, entry=where, cases=cases, most_bytes=budget,
        may_patch=((where, where + 3), (free, free | 0xFF)),
    )  # fmt: skip


@family
def crash_repair(d: Dice, k: int) -> RomTask:
    where = d.pick(0x02, 0x07, 0x0B) << 16 | 0x8000 + d.step(0x200, 0x6000, 0x20)
    at, v, n = d.step(0x0E00, 0x0F00, 0x10), d.between(3, 120), d.between(140, 200)
    inner = (where & 0xFFFF) + 9
    listing, symptom, fault, fixed, most, cases = (
        ([("c230", "REP #$30"), (f"a9{word(0x1200 | v)}", f"LDA #{x4(0x1200 | v)}"), (f"8d{word(at)}", f"STA {x4(at)}"),
          ("e210", "SEP #$10"), ("6b", "RTL")],
         "The game crashes soon after this routine returns to its caller, which expects 8-bit registers.", 9, "30", 1,
         [RomCase(out={at: le(0x1200 | v)})]),
        ([("8b", "PHB"), ("4b", "PHK"), ("ab", "PLB"), (f"a9{v:02x}", f"LDA #{x2(v)}"), (f"8d{word(at)}", f"STA {x4(at)}"),
          ("ea", "NOP"), ("6b", "RTL")],
         "The routine must leave the caller's data bank as it was. The game jumps into nowhere at its RTL.", 8, "ab", 1,
         [RomCase(regs={"db": 0x7E}, out={at: v})]),
        ([("a20a", "LDX #$0A"), (f"20{word(inner)}", f"JSR {x4(inner)}"), (f"8d{word(at)}", f"STA {x4(at)}"), ("6b", "RTL"),
          (f"a9{v:02x}", f"LDA #{x2(v)}"), ("6b", "RTL")],
         f"The part at {x4(inner)} is called by the first part only. The game crashes at its return.", 11, "60", 1,
         [RomCase(out={at: v})]),
        ([("48", "PHA"), (f"ad{word(at)}", f"LDA {x4(at)}"), ("1a", "INC A"), (f"8d{word(at)}", f"STA {x4(at)}"), ("ea", "NOP"),
          ("6b", "RTL")],
         "A must come back as it was. The game jumps to a wrong bank at the RTL.", 8, "68", 1,
         [RomCase(regs={"a": 0x5C}, mem={at: v}, out={at: v + 1}, end={"a": 0x5C})]),
        ([(f"a2{n - 1:02x}", f"LDX #{x2(n - 1)}"), (f"a9{v:02x}", f"LDA #{x2(v)}"), (f"9d{word(at)}", f"STA {x4(at)},X"),
          ("ca", "DEX"), ("10fa", "BPL -6"), (f"8d{word(at)}", f"STA {x4(at)}"), ("6b", "RTL")],
         f"It should fill all {n} bytes from {x4(at)} on with {x2(v)}, but writes two of them only.", 8, "d0", 1,
         [RomCase(mem={at: bytes(n + 1)}, out={at: bytes((v,)) * n + b"\0"})]),
        ([("e220", "SEP #$20"), ("c220", "REP #$20"), (f"a9{v:02x}", f"LDA #{x2(v)}"), (f"8d{word(at)}", f"STA {x4(at)}"),
          ("e220", "SEP #$20"), ("6b", "RTL")],
         f"The store should write the byte {x2(v)} to {x4(at)}. The processor runs into data instead: the second line makes A 16 "
         "bits wide, but the operand after it has 8.", 3, "00", 1,
         [RomCase(regs={"m": m}, mem={at + 1: 0x66}, out={at: b"" + bytes((v,)) + b"\x66"}, end={"m": 1}) for m in (1, 0)]),
    )[k]  # fmt: skip
    size = len(bytes.fromhex(joined(listing)))
    return made(
        "crash_repair", k,
        f"This routine is called with jsl:\n\n{listed(where, listing)}\n\n{symptom} Repair it in place: change at most {most} "
        f"{'byte' if most == 1 else 'bytes'} of it, and nothing else. {PATCH}",
        f"org {x6(where + fault)} | db ${fixed}",
        (f"org {x6(where)} | rtl",),
        kind="patch", image={where: joined(listing)}, entry=where, cases=tuple(cases), most_bytes=most,
        may_patch=((where, where + size - 1),),
    )  # fmt: skip
