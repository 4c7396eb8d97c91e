"""DMA and writes to video RAM, palettes and OAM."""

from ..dice import Dice
from ..emulate import CGRAM, OAM, VRAM, Run
from .row import Row, blanked, family, label, le, leave, loop, routine, x2, x4, x6


def _data(size: int) -> bytes:
    return bytes((index * 29 + 7) & 255 for index in range(size))


@family
def dma_to_vram(d: Dice) -> Row:
    channel, source = d.between(0, 7), 0x7F0000 + d.step(0, 0x8000, 0x200)
    word, size = d.step(0x1000, 0x7000, 0x400), d.step(0x40, 0x800, 0x40)
    name, back, base = label(d, "upload", d.pick("tiles", "graphics", "map")), leave(d), 0x4300 + 16 * channel
    return blanked(
        d,
        routine(
            d,
            [
                f"Upload {x4(size)} bytes from {x6(source)} to VRAM word address {x4(word)} with DMA channel "
                f"{channel}.",
                f"DMA channel {channel}: {size} bytes, {x6(source)} to VRAM {x4(word)} (word address).",
            ],
            f"{name}: | lda #$80 | sta $2115 | rep #$20 | lda #{x4(word)} | sta $2116 | lda #$1801 | sta {x4(base)}"
            f" | lda #{x4(source & 0xFFFF)} | sta {x4(base + 2)} | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20"
            f" | lda #{x2(source >> 16)} | sta {x4(base + 4)} | lda #{x2(1 << channel)} | sta $420B | {back}",
            [
                f"The word $1801 sets mode 1 in {x4(base)} and port $2118 in {x4(base + 1)}.",
                "VRAM may be written only in forced blank or vertical blank.",
            ],
            [
                "$80 in $2115 steps the address after each high byte.",
                f"{x2(1 << channel)} in $420B is the bit of channel {channel}.",
            ],
            [Run(mem={source: _data(size)}, out={VRAM + word * 2: _data(size)})],
        ),
    )


@family
def dma_to_cgram(d: Dice) -> Row:
    channel, first, colors = d.between(0, 7), d.step(0, 0xE0, 16), d.pick(16, 16, 32, 8)
    source, base = d.pick(0x7EC500, 0x7EC300) + 2 * first, 0x4300 + 16 * channel
    size = colors * 2
    name, back = label(d, "send", d.pick("palette", "colors")), leave(d)
    return blanked(
        d,
        routine(
            d,
            [
                f"Send {colors} colors from {x6(source)} to CGRAM index {x2(first)} on DMA channel {channel}.",
                f"Palette DMA (channel {channel}): {size} bytes at {x6(source)} to color {first}.",
            ],
            f"{name}: | lda #{x2(first)} | sta $2121 | rep #$20 | lda #$2200 | sta {x4(base)}"
            f" | lda #{x4(source & 0xFFFF)}"
            f" | sta {x4(base + 2)} | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20 | lda #$7E | sta {x4(base + 4)}"
            f" | lda #{x2(1 << channel)} | sta $420B | {back}",
            ["Mode 0 writes every byte to the one port $2122, which takes low and high byte in turn."],
            [f"A color is two bytes, so {colors} colors are {size} bytes.", "$2121 counts colors, not bytes."],
            [Run(mem={source: _data(size)}, out={CGRAM + first * 2: _data(size)})],
        ),
    )


@family
def dma_to_oam(d: Dice) -> Row:
    channel, size = d.between(0, 7), d.pick(0x220, 0x220, 0x200, 0x100)
    source, base = d.pick(0x000800, 0x000800, 0x7E0800, 0x7F1000), 0x4300 + 16 * d.between(0, 0)
    base = 0x4300 + 16 * channel
    name, back = label(d, d.pick("send", "copy", "push"), "oam"), leave(d)
    return blanked(
        d,
        routine(
            d,
            [
                f"Copy the OAM buffer at {x6(source)} ({x4(size)} bytes) to OAM with DMA channel {channel}.",
                f"Write {name}: OAM upload of {x4(size)} bytes from {x6(source)}, channel {channel}.",
            ],
            f"{name}: | rep #$20 | stz $2102 | lda #$0400 | sta {x4(base)} | lda #{x4(source & 0xFFFF)} | sta "
            f"{x4(base + 2)}"
            f" | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20 | lda #{x2(source >> 16)} | sta {x4(base + 4)}"
            f" | lda #{x2(1 << channel)} | sta $420B | {back}",
            ["The 16-bit stz clears $2102 and $2103, so writing starts at the first object; the port is $2104."],
            [
                "Full OAM is $220 bytes: $200 of entries and $20 of high bits."
                if size == 0x220
                else "Only part of OAM is sent."
            ],
            [Run(mem={source: _data(size)}, out={OAM: _data(size)})],
        ),
    )


@family
def dma_clear(d: Dice) -> Row:
    channel, target, size = d.between(0, 7), d.step(0x2000, 0xA000, 0x100), d.step(0x100, 0x1000, 0x100)
    base, bank = 0x4300 + 16 * channel, d.between(0, 1)
    name, back = label(d, "wipe", d.pick("ram", "buffer")), leave(d)
    return routine(
        d,
        [
            f"Clear {x4(size)} bytes of WRAM at {x6(0x7E0000 + bank * 65536 + target)} by fixed-source DMA, channel "
            f"{channel}.",
            f"Zero {size} bytes at {x6(0x7E0000 + bank * 65536 + target)} with DMA {channel} and $2180.",
        ],
        f"{name}: | rep #$20 | lda #{x4(target)} | sta $2181 | lda #$8008 | sta {x4(base)} | lda #@zero | sta "
        f"{x4(base + 2)}"
        f" | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20 | lda #{bank} | sta $2183 | lda #^@zero | sta "
        f"{x4(base + 4)}"
        f" | lda #{x2(1 << channel)} | sta $420B | {back} | @zero: | .byte 0",
        ["Bit 3 of the control byte ($08) keeps the source fixed, so one zero byte in ROM is repeated."],
        ["The source must be in ROM here, since WRAM to WRAM transfers do not work.", "$80 selects port $2180."],
        [Run(mem={0x7E0000 + bank * 65536 + target: b"\x31" * (size + 1)},
             out={0x7E0000 + bank * 65536 + target: bytes(size) + b"\x31"})],
    )  # fmt: skip


@family
def vram_words(d: Dice) -> Row:
    word, count, value = d.step(0x0800, 0x7000, 0x20), d.between(4, 64), d.between(1, 0xFFFF)
    column = d.chance(0.4)
    name, back, at = label(d, "draw", "column" if column else "row"), leave(d), loop(d)
    mode, step = (0x81, 32) if column else (0x80, 1)
    out = {VRAM + 2 * (word + step * k): le(value) for k in range(count)}
    return blanked(
        d,
        routine(
            d,
            [
                f"Write the tile word {x4(value)} {count} times {'down a column' if column else 'along a row'} from "
                f"VRAM {x4(word)}, by hand.",
                f"Without DMA: {count} copies of {x4(value)} to VRAM word {x4(word)}, "
                f"{'32 words apart' if column else 'side by side'}.",
            ],
            f"{name}: | lda #{x2(mode)} | sta $2115 | rep #$20 | lda #{x4(word)} | sta $2116 | lda #{x4(value)} | ldx "
            f"#{count}"
            f" | {at}: | sta $2118 | dex | bne {at} | sep #$20 | {back}",
            [f"{x2(mode)} in $2115 makes the address grow by {step} after each write of the high byte $2119."],
            [
                "The 16-bit sta fills $2118 and $2119 at once.",
                "It has to run while the screen is blanked.",
                *(["A 32-tile row is 32 words, so that step moves one tile down."] if column else []),
            ],
            [Run(out=out)],
        ),
    )


@family
def set_color(d: Dice) -> Row:
    red, green, blue, index = d.between(0, 31), d.between(0, 31), d.between(0, 31), d.between(0, 255)
    value = red | green << 5 | blue << 10
    name, back = label(d, "set", "color"), leave(d)
    buffer = d.chance(0.5)
    at = 0x7EC500 + 2 * index
    code = (
        f"{name}: | rep #$20 | lda #{x4(value)} | sta {x6(at)} | sep #$20 | lda #1 | sta $15 | {back}"
        if buffer
        else f"{name}: | lda #{x2(index)} | sta $2121 | lda #{x2(value & 255)} | sta $2122 | lda #{x2(value >> 8)} "
        f"| sta $2122 | {back}"
    )
    row = routine(
        d,
        [
            f"Set color {index} to red {red}, green {green}, blue {blue} "
            + ("in the palette buffer at $7EC500." if buffer else "directly in CGRAM."),
            f"Make palette entry {x2(index)} r={red} g={green} b={blue} (0-31), "
            + ("through the buffer $7EC500 and the flag $15." if buffer else "with $2121/$2122."),
        ],
        code,
        [f"The color word is blue * 1024 + green * 32 + red = {x4(value)}."],
        [
            f"Entry {index} is at $7EC500 + 2 * {index} = {x6(at)}, and $15 asks the NMI routine to send the buffer."
            if buffer
            else "$2122 is written twice, low byte first.",
            *([] if buffer else ["CGRAM is safe to write only during blanking."]),
        ],
        [Run(out={at: le(value), 0x15: 1} if buffer else {CGRAM + 2 * index: le(value)})],
    )
    return row if buffer else blanked(d, row)


@family
def hdma_setup(d: Dice) -> Row:
    channel, port, what = (
        d.between(3, 7),
        *d.pick((0x00, "brightness"), (0x05, "the BG mode"), (0x32, "the fixed color"), (0x2C, "the main screen")),
    )
    base, bit = 0x4300 + 16 * channel, 1 << channel
    first, v1, v2 = d.between(10, 100), d.between(1, 15), d.between(1, 15)
    name, back = label(d, "start", "hdma"), leave(d)
    return routine(
        d,
        [
            f"HDMA channel {channel}: change {what} ($21{port:02X}) to {x2(v1)} for {first} lines, then {x2(v2)}.",
            f"Set up HDMA on channel {channel} for register $21{port:02X}: {first} lines of {x2(v1)}, the rest "
            f"{x2(v2)}.",
        ],
        f"{name}: | stz {x4(base)} | lda #{x2(port)} | sta {x4(base + 1)} | rep #$20 | lda #@table | sta "
        f"{x4(base + 2)} | sep #$20"
        f" | lda #^@table | sta {x4(base + 4)} | lda #{x2(bit)} | sta $420C | {back} | @table: | .byte {first}, "
        f"{x2(v1)}, 1,"
        f" {x2(v2)}, 0",
        ["Each table entry is a line count and a value, and a count of 0 ends the table."],
        [
            f"Mode 0 in {x4(base)} sends one byte per entry.",
            f"{x2(bit)} in $420C enables channel {channel} alone; other channels are switched off by this store.",
            "The last value stays in force down to the bottom of the screen.",
        ],
        [Run(out={base: bytes([0, port]), base + 4: 0, 0x420C: bit})],
    )
