"""Faults of the machine and of the ROM file: DMA, video timing, open bus, checksums, headers, free space, pointers."""

from ..asm.row import label, x2, x4, x6
from ..dice import Dice
from .case import CRASH_ASKS, Case, cause, verdict


def seen(d: Dice, text: str, why: str, evidence: str, fix: str) -> Case:
    """A case without code to run."""
    return Case(instruction=d.of(CRASH_ASKS), input=text, output=verdict(why, evidence, fix))


@cause
def dma_while_drawing(d: Dice) -> Case:
    line, level, size, channel = d.between(1, 223), d.between(1, 15), d.step(0x40, 0x400, 0x20), d.between(0, 7)
    word = d.step(0x1000, 0x7000, 0x100)
    return seen(
        d, f"$420B written with {x2(1 << channel)}, scanline {line}, $2100 = {x2(level)}\nchannel {channel}: {size} "
           f"bytes to $2118, VRAM word {x4(word)}\n"
        "VRAM unchanged afterwards",
        d.pick("the DMA runs while the screen is drawn.", "VRAM is not accessible during active display."),
        f"scanline {line} is visible and bit 7 of $2100 ({x2(level)}) is clear, so neither blank is active.",
        "start the transfer in the NMI routine (from line 225 on), or set forced blank with `lda #$80`, `sta $2100`.",
    )  # fmt: skip


@cause
def dma_count_zero(d: Dice) -> Case:
    channel, bank, address = d.between(0, 7), d.pick(0x7E, 0x7F), d.step(0x2000, 0x9000, 0x80)
    base = 0x4300 + channel * 16
    return seen(
        d, f"DMA of 0 bytes was intended, but it fills all of VRAM\n{x4(base)}: 01 18 {address & 255:02X} "
           f"{address >> 8:02X} {bank:02X} 00 00\n$420B <- {x2(1 << channel)}",
        d.pick("a DMA count of 0 means 65536 bytes.", "the size register was 0, which is the largest transfer."),
        f"{x4(base + 5)}/{x4(base + 6)} are 00 00, and 65536 bytes are exactly 64 KB, the size of VRAM.",
        f"skip the write to $420B when the length is 0: `ldx {x4(base + 5)}`, `beq @skip` with 16-bit X.",
    )  # fmt: skip


@cause
def dma_wrong_channel(d: Dice) -> Case:
    channel, written = d.some(range(8), 2)
    base = 0x4300 + channel * 16
    address = d.step(0x8000, 0xF000, 0x20)
    return seen(
        d, f"{x4(base)}: 01 18 {address & 255:02X} {address >> 8:02X} {d.between(1, 31):02X} 00 "
           f"{d.between(1, 8):02X}\n$420B <- {x2(1 << written)}\nnothing arrives in VRAM",
        d.pick("the start bit belongs to another channel.",
        f"channel {channel} is set up, but channel {written} is started."),
        f"the registers at {x4(base)} are those of channel {channel}, whose bit is {x2(1 << channel)}; "
        f"{x2(1 << written)} is channel {written}.",
        f"write {x2(1 << channel)} to $420B.",
    )  # fmt: skip


@cause
def too_much_for_vblank(d: Dice) -> Case:
    size, extra = d.step(0x2400, 0x6000, 0x200), d.pick("tiles", "a tilemap", "the font", "animated graphics")
    start = d.between(225, 230)
    return seen(
        d, f"DMA of {x4(size)} bytes ({extra}) begins at scanline {start} and is still running at scanline 10\nonly "
           f"the first part is correct in VRAM (NTSC, 224 lines)",
        d.pick("the transfer is longer than vertical blank.", "too many bytes are sent in one frame."),
        f"{size} bytes are more than the roughly 6 KB that DMA moves in one NTSC vblank, and it runs into line 10 "
        f"of the picture.",
        f"split it into {-(-size // 0x1000)} parts of at most $1000 bytes, one per frame, or use forced blank.",
    )  # fmt: skip


@cause
def open_bus_read(d: Dice) -> Case:
    page, low = d.pick(0x50, 0x51, 0x55, 0x58, 0x5A, 0x5C, 0x5F), d.between(0, 255)
    op, reg = d.pick(("lda", "A"), ("ldx", "X"), ("ldy", "Y"))
    return seen(
        d, f"  {op} ${page:02X}{low:02X}\n{reg} = {x2(page)} every time, DB = $00, LoROM without extra hardware",
        d.pick("no chip answers at this address, so it reads open bus.", "the address is not mapped."),
        f"the value {x2(page)} is the high byte of the operand, the last byte that was on the bus.",
        "check the address: RAM is $0000-$1FFF or $7E0000-$7FFFFF, and ROM is $8000-$FFFF in a LoROM bank.",
    )  # fmt: skip


@cause
def checksum_pair(d: Dice) -> Case:
    total, stored = d.between(0x1000, 0xFFFF), d.between(0x1000, 0xFFFF)
    ok = stored ^ 0xFFFF
    bad = (ok + d.between(1, 0x800)) & 0xFFFF
    order = d.chance(0.5)
    if order:
        text = (
            f"$FFDC: {bad & 255:02X} {bad >> 8:02X} {stored & 255:02X} {stored >> 8:02X}\nthe emulator reports a "
            f"bad header"
        )
        why = "the complement does not belong to the checksum."
        evidence = f"complement {x4(bad)} plus checksum {x4(stored)} is {x4((bad + stored) & 0xFFFF)} and not $FFFF."
        fix = f"store {x4(ok)} at $FFDC, or let the build tool rewrite both words."
    else:
        total = total if total != stored else total ^ 1
        text = (
            f"$FFDE (checksum): {x4(stored)}, $FFDC (complement): {x4(ok)}\nsum of all ROM bytes modulo $10000: "
            f"{x4(total)}"
        )
        why = "the checksum in the header is out of date."
        evidence = f"the bytes add up to {x4(total)}, the header says {x4(stored)}; the pair itself is consistent."
        fix = f"write {x4(total)} to $FFDE and {x4(total ^ 0xFFFF)} to $FFDC."
    return seen(d, text, why, evidence, fix)


@cause
def header_shift(d: Dice) -> Case:
    offset = d.between(0x1000, 0xFFFFF)
    data = " ".join(f"{d.between(0, 255):02X}" for _ in range(4))
    size = d.pick(1, 2, 4) * 0x100000 + 0x200
    return seen(
        d, f"patch expects {data} at file offset {x6(offset)}\nfound there: something else; {data} is at "
           f"{x6(offset + 0x200)}\nfile size: {size} bytes",
        d.pick("the ROM has a 512-byte copier header.",
        "the patch is for a headerless file, but this one has a header."),
        f"the data is $200 further on, and {size} modulo 1024 is {size % 1024}.",
        "remove the first 512 bytes of the file, then patch.",
    )  # fmt: skip


@cause
def bank_overflow(d: Dice) -> Case:
    bank, start = d.between(0x10, 0x3F), d.between(0xF000, 0xFFC0)
    room = 0x10000 - start
    size = room + d.between(1, 0x200)
    name = label(d, "new", d.pick("menu", "boss", "text", "code"))
    return seen(
        d, f"{name} inserted at ${bank:02X}:{start:04X}, length {x4(size)}\nthe last {size - room} bytes are "
           f"missing at run time",
        d.pick("the data runs over the end of its bank.", f"there is not enough space behind ${bank:02X}:{start:04X}."),
        f"from {x4(start)} to $FFFF there are {room} bytes, but the insert has {size}.",
        f"move it to another bank with {size} free bytes, or split off {size - room} bytes.",
    )  # fmt: skip


@cause
def pointer_table_shift(d: Dice) -> Case:
    base, count = d.step(0x8000, 0xF000, 0x10), 4
    pointers = [d.between(0x80, 0xFF) << 8 | d.between(1, 255) for _ in range(count)]
    raw = bytes([d.between(0, 0x7F)]) + b"".join(p.to_bytes(2, "little") for p in pointers)
    k = d.between(0, 2)
    got = raw[2 * k] | raw[2 * k + 1] << 8
    return seen(
        d, f"{x4(base)}: {' '.join(f'{b:02X}' for b in raw)}\n.addr table read at {x4(base)}; entry {k} gives "
           f"{x4(got)}, the routine is at {x4(pointers[k])}",
        d.pick("the table starts one byte later than the code assumes.",
        "a stray byte in front shifts the pointer table."),
        f"from {x4(base + 1)} on the words are {', '.join(map(x4, pointers))}, all in $8000-$FFFF as ROM pointers are.",
        f"take the byte {raw[0]:02X} out, or read the table at {x4(base + 1)}.",
    )  # fmt: skip


@cause
def hook_too_short(d: Dice) -> Case:
    at, size = d.step(0x8000, 0xFE00, 3), d.pick(2, 3)
    old = d.pick("lda $11", "sta $13", "lda #$05") if size == 2 else d.pick("sta $0600", "jsr $9A00", "lda $0DD0")
    follow, length = d.pick(("sta $0700", 3), ("lda $0E20", 3), ("jsr $B012", 3), ("inc $0604", 3))
    if size == 3:
        follow, length = d.pick((follow, length), ("sta $00", 2), ("and #$0F", 2), ("ldx $A0", 2))
    spare = size + length - 4
    pad = "one nop" if spare == 1 else f"{spare} nops"
    return seen(
        d,
        f"hook: jsl NewCode (4 bytes) written at {x4(at)}\nold code: {x4(at)} {old} ({size} bytes), {x4(at + size)} "
        f"{follow}"
        f" ({length} bytes)\nafter the return the CPU executes nonsense at {x4(at + 4)}",
        d.pick("the jsl covers more than one instruction.", "the hook overwrites the start of the next instruction."),
        f"jsl ends at {x4(at + 3)}, inside `{follow}`, so its last {f'{spare} bytes' if spare > 1 else 'byte'} at "
        f"{x4(at + 4)}"
        f" {'are' if spare > 1 else 'is'} run as an opcode.",
        f"move `{follow}` into NewCode as well, and fill up with {pad} at {x4(at + 4)}.",
    )


@cause
def write_twice_register(d: Dice) -> Case:
    layer, axis = d.between(1, 4), d.pick("horizontal", "vertical")
    port = 0x210D + 2 * (layer - 1) + (axis == "vertical")
    value = d.between(0x100, 0x3FF)
    return seen(
        d, f"  rep #$20\n  .a16\n  lda #{x4(value)}\n  sta {x4(port)}\nBG{layer} {axis} scroll is wrong, and the "
           f"register behind it changes too",
        d.pick(f"{x4(port)} must be written twice with 8-bit stores.",
        "a 16-bit store does not suit a write-twice register."),
        f"the 16-bit sta sends {x2(value & 255)} to {x4(port)} and {x2(value >> 8)} to {x4(port + 1)}.",
        f"with 8-bit A: `lda #{x2(value & 255)}`, `sta {x4(port)}`, `lda #{x2(value >> 8)}`, `sta {x4(port)}`.",
    )  # fmt: skip


@cause
def early_product(d: Dice) -> Case:
    one, two = d.between(3, 250), d.between(3, 250)
    return seen(
        d, f"  lda #{one}\n  sta $4202\n  lda #{two}\n  sta $4203\n  lda $4216\nA is not the low byte of {one * two}",
        d.pick("the product is read too early.", "there is no wait between $4203 and $4216."),
        f"the multiplier takes 8 cycles, and lda $4216 reads in the fourth; {one} * {two} = {x4(one * two)} comes "
        f"later.",
        "put three `nop` (6 cycles) before the lda.",
    )  # fmt: skip


@cause
def sprite_slots_full(d: Dice) -> Case:
    room, used = d.between(0, 295), d.between(18, 26)
    return seen(
        d, f"room {x4(room)}: sprite list has {used} entries\n$0DD0-$0DDF all nonzero after loading, sprites "
           f"{16}-{used - 1} never appear",
        d.pick("the game has only 16 sprite slots.", "more sprites are listed than there are slots."),
        f"$0DD0 is the state of slots 0-15; all are taken, and {used} were asked for.",
        f"remove {used - 16} sprite{'s' * (used > 17)} from the room.",
    )  # fmt: skip


@cause
def brk_vector_loop(d: Dice) -> Case:
    target = d.between(0x10, 0x7F) << 8 | d.between(0, 255)
    at = d.between(0x8000, 0xFF00)
    return seen(
        d, f"{x4(at)}: jmp ({x4(0x600)})\n$0600: {target & 255:02X} {target >> 8:02X}\nexecution at "
           f"$00:{target:04X}, memory there: 00 00 00 00, BRK again and again",
        d.pick("the pointer at $0600 does not lead to code.", "an indirect jump took a bad address."),
        f"the bytes at $0600 are the address {x4(target)}, below $8000, so it is no LoROM code; 00 is the opcode of "
        f"BRK.",
        "initialise $0600/$0601 before the jump, for example with `lda #Handler`, `sta $0600` in 16-bit mode.",
    )  # fmt: skip


@cause
def nmi_flag_unread(d: Dice) -> Case:
    value = d.pick(0x00, 0x01, 0x20, 0x21, 0x30)
    spot = d.between(0x8000, 0xFE00)
    return seen(
        d, f"main loop at {x4(spot)} waits for a RAM flag that the NMI routine sets\n$4200 was last written with "
           f"{x2(value)}\nthe NMI routine is never entered",
        d.pick("NMI is not enabled.", "bit 7 of $4200 is clear."),
        f"{x2(value)} has bit 7 clear" + (" (it enables only other things)" if value else "")
        + ", so vertical blank causes no NMI and the flag stays unset.",
        f"write {x2(value | 0x80)} to $4200.",
    )  # fmt: skip
