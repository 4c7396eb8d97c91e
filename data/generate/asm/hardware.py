"""DMA, video ports, interrupts and the joypad."""

from ..dice import Dice
from ..emulate import CGRAM, OAM, VRAM, Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, routine, x2, x4, x6


def _data(size: int) -> bytes:
    return bytes((index * 29 + 7) & 255 for index in range(size))


@family
def dma_to_vram(d: Dice) -> Row:
    channel, source = d.between(0, 7), 0x7F0000 + d.step(0, 0x8000, 0x200)
    word, size = d.step(0x1000, 0x7000, 0x400), d.step(0x40, 0x800, 0x40)
    name, back, base = label(d, "upload", d.pick("tiles", "graphics", "map")), leave(d), 0x4300 + 16 * channel
    return routine(
        d,
        [
            f"Upload {x4(size)} bytes from {x6(source)} to VRAM word address {x4(word)} with DMA channel {channel}.",
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
    )


@family
def dma_to_cgram(d: Dice) -> Row:
    channel, first, colors = d.between(0, 7), d.step(0, 0xE0, 16), d.pick(16, 16, 32, 8)
    source, base = d.pick(0x7EC500, 0x7EC300) + 2 * first, 0x4300 + 16 * channel
    size = colors * 2
    name, back = label(d, "send", d.pick("palette", "colors")), leave(d)
    return routine(
        d,
        [
            f"Send {colors} colors from {x6(source)} to CGRAM index {x2(first)} on DMA channel {channel}.",
            f"Palette DMA (channel {channel}): {size} bytes at {x6(source)} to color {first}.",
        ],
        f"{name}: | lda #{x2(first)} | sta $2121 | rep #$20 | lda #$2200 | sta {x4(base)} | lda #{x4(source & 0xFFFF)}"
        f" | sta {x4(base + 2)} | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20 | lda #$7E | sta {x4(base + 4)}"
        f" | lda #{x2(1 << channel)} | sta $420B | {back}",
        ["Mode 0 writes every byte to the one port $2122, which takes low and high byte in turn."],
        [f"A color is two bytes, so {colors} colors are {size} bytes.", "$2121 counts colors, not bytes."],
        [Run(mem={source: _data(size)}, out={CGRAM + first * 2: _data(size)})],
    )


@family
def dma_to_oam(d: Dice) -> Row:
    channel, size = d.between(0, 7), d.pick(0x220, 0x220, 0x200, 0x100)
    source, base = d.pick(0x000800, 0x000800, 0x7E0800, 0x7F1000), 0x4300 + 16 * d.between(0, 0)
    base = 0x4300 + 16 * channel
    name, back = label(d, d.pick("send", "copy", "push"), "oam"), leave(d)
    return routine(
        d,
        [
            f"Copy the OAM buffer at {x6(source)} ({x4(size)} bytes) to OAM with DMA channel {channel}.",
            f"Write {name}: OAM upload of {x4(size)} bytes from {x6(source)}, channel {channel}.",
        ],
        f"{name}: | rep #$20 | stz $2102 | lda #$0400 | sta {x4(base)} | lda #{x4(source & 0xFFFF)} | sta {x4(base + 2)}"
        f" | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20 | lda #{x2(source >> 16)} | sta {x4(base + 4)}"
        f" | lda #{x2(1 << channel)} | sta $420B | {back}",
        ["The 16-bit stz clears $2102 and $2103, so writing starts at the first object; the port is $2104."],
        ["Full OAM is $220 bytes: $200 of entries and $20 of high bits." if size == 0x220 else "Only part of OAM is sent."],
        [Run(mem={source: _data(size)}, out={OAM: _data(size)})],
    )


@family
def dma_clear(d: Dice) -> Row:
    channel, target, size = d.between(0, 7), d.step(0x2000, 0xA000, 0x100), d.step(0x100, 0x1000, 0x100)
    base, bank = 0x4300 + 16 * channel, d.between(0, 1)
    name, back = label(d, "wipe", d.pick("ram", "buffer")), leave(d)
    return routine(
        d,
        [
            f"Clear {x4(size)} bytes of WRAM at {x6(0x7E0000 + bank * 65536 + target)} by fixed-source DMA, channel {channel}.",
            f"Zero {size} bytes at {x6(0x7E0000 + bank * 65536 + target)} with DMA {channel} and $2180.",
        ],
        f"{name}: | rep #$20 | lda #{x4(target)} | sta $2181 | lda #$8008 | sta {x4(base)} | lda #@zero | sta {x4(base + 2)}"
        f" | lda #{x4(size)} | sta {x4(base + 5)} | sep #$20 | lda #{bank} | sta $2183 | lda #^@zero | sta {x4(base + 4)}"
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
    return routine(
        d,
        [
            f"Write the tile word {x4(value)} {count} times {'down a column' if column else 'along a row'} from VRAM {x4(word)}, by hand.",
            f"Without DMA: {count} copies of {x4(value)} to VRAM word {x4(word)}, {'32 words apart' if column else 'side by side'}.",
        ],
        f"{name}: | lda #{x2(mode)} | sta $2115 | rep #$20 | lda #{x4(word)} | sta $2116 | lda #{x4(value)} | ldx #{count}"
        f" | {at}: | sta $2118 | dex | bne {at} | sep #$20 | {back}",
        [f"{x2(mode)} in $2115 makes the address grow by {step} after each write of the high byte $2119."],
        [
            "The 16-bit sta fills $2118 and $2119 at once.",
            "It has to run while the screen is blanked.",
            *(["A 32-tile row is 32 words, so that step moves one tile down."] if column else []),
        ],
        [Run(out=out)],
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
        else f"{name}: | lda #{x2(index)} | sta $2121 | lda #{x2(value & 255)} | sta $2122 | lda #{x2(value >> 8)} | sta $2122 | {back}"
    )
    return routine(
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


@family
def screen_brightness(d: Dice) -> Row:
    way, limit = d.pick("up", "down"), d.pick(15, 15, 10, 12)
    every = d.pick(1, 2, 4)
    name, back = label(d, "fade", "in" if way == "up" else "out"), leave(d)
    wait = f"lda $1A | and #{x2(every - 1)} | bne @done | " if every > 1 else ""
    pace = f"every {every} frames" if every > 1 else "per frame"
    code = (
        f"{name}: | {wait}lda $13 | cmp #{limit} | bcs @done | inc $13 | @done: | {back}"
        if way == "up"
        else f"{name}: | {wait}lda $13 | beq @done | dec $13 | @done: | {back}"
    )
    goal = f"up to {limit}" if way == "up" else "down to 0"
    if way == "down" or limit == 15:
        runs = [Run(mem={0x13: 7, 0x1A: every}, out={0x13: 8 if way == "up" else 6})]
    else:
        runs = [Run(mem={0x13: limit, 0x1A: 0}, out={0x13: limit})]
    return routine(
        d,
        [
            f"Fade the screen {goal}: change the brightness copy at $13 by one step {pace}.",
            f"Write {name}: one brightness step {pace}, $13 (the $2100 mirror) goes {goal}.",
        ],
        code,
        [f"The brightness is the low four bits of $2100, and $13 is its copy in RAM; it stops at {goal.split()[-1]}."],
        (["$1A counts frames, so the and mask lets only some frames through."] if every > 1 else [])
        + ["inc and dec on direct page need no load of A."],
        runs,
    )


@family
def forced_blank(d: Dice) -> Row:
    level, name = d.between(8, 15), label(d, d.pick("with", "while"), "blank")
    word = d.step(0x1000, 0x6000, 0x100)
    value, back = d.between(1, 0xFFFE), leave(d)
    return routine(
        d,
        [
            f"Turn the screen off, write {x4(value)} to VRAM word {x4(word)}, and turn it on with brightness {level}.",
            f"Safe single VRAM write outside vblank: {x4(value)} to {x4(word)}, then brightness {level}.",
        ],
        f"{name}: | lda #$80 | sta $2100 | sta $2115 | rep #$20 | lda #{x4(word)} | sta $2116 | lda #{x4(value)} | sta $2118"
        f" | sep #$20 | lda #{x2(level)} | sta $2100 | {back}",
        ["Bit 7 of $2100 is forced blank, which makes VRAM accessible at any time."],
        ["$80 fits $2115 as well: step by one after the high byte.", f"{x2(level)} clears bit 7 and sets the level."],
        [Run(out={VRAM + 2 * word: le(value), 0x2100: level, 0x2115: 0x80})],
    )


@family
def wait_vblank(d: Dice) -> Row:
    bit, what, port = d.pick((0x80, "vertical blank", 7), (0x40, "horizontal blank", 6))
    name, back = label(d, "wait", d.pick("blank", "edge")), leave(d)
    edge = d.chance(0.4)
    branch, other = ("bpl", "bmi") if port == 7 else ("bvc", "bvs")
    first = f"@out: | bit $4212 | {other} @out | " if edge else ""
    return routine(
        d,
        [
            f"Wait for {what} by polling $4212" + (", but only for a fresh start of it." if edge else "."),
            f"Write {name}: busy-wait until {'a new ' if edge else ''}{what} begins (register $4212)."
            if edge
            else f"Write {name}: loop until bit {port} of $4212 is set ({what}).",
        ],
        f"{name}: | {first}@in: | bit $4212 | {branch} @in | {back}",
        [f"bit copies bit {port} of $4212 to the {'N' if port == 7 else 'V'} flag, so {branch} loops while it is clear."],
        (["The first loop waits until a blank that is already running is over."] if edge else [])
        + ["A keeps its value, since bit only sets flags."],
        [Run(ports={0x4212: (bit, bit, 0, 0, bit) if edge else (0, 0, bit)}, regs={"a": 0x33}, end={"a": 0x33})],
    )


@family
def read_joypad(d: Dice) -> Row:
    held, new = low_ram(d), 0x1A00 + d.step(0, 0x80, 2)
    pad, name, back = d.pick(1, 2), label(d, "read", d.pick("pad", "buttons", "input")), leave(d)
    port = 0x4218 if pad == 1 else 0x421A
    return routine(
        d,
        [
            f"After auto-read, store controller {pad} at {x4(held)} and its newly pressed buttons at {x4(new)}.",
            f"Write {name}: wait for $4212 bit 0, then {x4(held)} = held buttons of pad {pad}, {x4(new)} = new presses.",
        ],
        f"{name}: | @busy: | lda $4212 | lsr a | bcs @busy | rep #$20 | lda {x4(held)} | eor #$FFFF | and {x4(port)}"
        f" | sta {x4(new)} | lda {x4(port)} | sta {x4(held)} | sep #$20 | {back}",
        ["A button is new when it is down now and was not in the old word: and with the inverted old word."],
        ["lsr moves the busy bit of $4212 to the carry.", "Auto-read must be enabled by bit 0 of $4200."],
        [
            Run(
                mem={held: le(0x8010), port: le(0x8180)},
                ports={0x4212: (1, 1, 0)},
                out={new: le(0x0180 & ~0x10), held: le(0x8180)},
            )
        ],
    )


@family
def scroll_register(d: Dice) -> Row:
    layer, axis = d.between(1, 3), d.pick("horizontal", "vertical")
    port = 0x210D + 2 * (layer - 1) + (axis == "vertical")
    source, name, back = low_ram(d), label(d, "scroll", f"bg{layer}"), leave(d)
    return routine(
        d,
        [
            f"Write the 16-bit {axis} scroll of BG{layer} from {x4(source)} to its register.",
            f"Set BG{layer} {axis} scrolling (word at {x4(source)}).",
        ],
        f"{name}: | lda {x4(source)} | sta {x4(port)} | lda {x4(source + 1)} | sta {x4(port)} | {back}",
        [f"{x4(port)} is a write-twice register: low byte first, then the high byte, to the same address."],
        ["A 16-bit store would hit the next register with the high byte.", "The order of the two writes matters."],
        [Run(mem={source: le(0x0134)}, out={port: 0x01})],
    )


@family
def hdma_setup(d: Dice) -> Row:
    channel, port, what = d.between(3, 7), *d.pick((0x00, "brightness"), (0x05, "the BG mode"), (0x32, "the fixed color"), (0x2C, "the main screen"))
    base, bit = 0x4300 + 16 * channel, 1 << channel
    first, v1, v2 = d.between(10, 100), d.between(1, 15), d.between(1, 15)
    name, back = label(d, "start", "hdma"), leave(d)
    return routine(
        d,
        [
            f"HDMA channel {channel}: change {what} ($21{port:02X}) to {x2(v1)} for {first} lines, then {x2(v2)}.",
            f"Set up HDMA on channel {channel} for register $21{port:02X}: {first} lines of {x2(v1)}, the rest {x2(v2)}.",
        ],
        f"{name}: | stz {x4(base)} | lda #{x2(port)} | sta {x4(base + 1)} | rep #$20 | lda #@table | sta {x4(base + 2)} | sep #$20"
        f" | lda #^@table | sta {x4(base + 4)} | lda #{x2(bit)} | sta $420C | {back} | @table: | .byte {first}, {x2(v1)}, 1,"
        f" {x2(v2)}, 0",
        ["Each table entry is a line count and a value, and a count of 0 ends the table."],
        [
            f"Mode 0 in {x4(base)} sends one byte per entry.",
            f"{x2(bit)} in $420C enables channel {channel} alone; other channels are switched off by this store.",
            "The last value stays in force down to the bottom of the screen.",
        ],
        [Run(out={base: bytes([0, port]), base + 4: 0, 0x420C: bit})],
    )


@family
def interrupt_enable(d: Dice) -> Row:
    line, kind = d.between(20, 210), d.pick("nmi", "irq", "both")
    name, back = label(d, "enable", d.pick("interrupts", "timers")), leave(d)
    joy = d.chance(0.6)
    value = (0x80 if kind != "irq" else 0) | (0x20 if kind != "nmi" else 0) | joy
    timer = f"lda #{line} | sta $4209 | stz $420A | " if kind != "nmi" else ""
    what = {"nmi": "NMI", "irq": f"a V-IRQ at line {line}", "both": f"NMI and a V-IRQ at line {line}"}[kind]
    extra = " with joypad auto-read" if joy else " without joypad auto-read"
    return routine(
        d,
        [f"Enable {what}{extra}.", f"Program $4200 for {what}{extra}."]
        if kind != "nmi"
        else [f"Enable {what}{extra}.", f"Program $4200 for {what}{extra}.", f"Which $4200 write enables {what}{extra}?"],
        f"{name}: | {timer}lda #{x2(value)} | sta $4200 | {back}",
        [
            f"{x2(value)} sets "
            + ", ".join(
                text
                for bit, text in ((0x80, "bit 7 (NMI)"), (0x20, "bit 5 (vertical IRQ)"), (0x01, "bit 0 (auto-read)"))
                if value & bit
            )
            + "."
        ],
        (["$4209/$420A hold the nine-bit line number.", "The I flag must be clear (cli) for the IRQ to arrive."] if kind != "nmi" else [])
        + ["$4200 is write-only, so a program keeps its own copy of it."],
        [Run(out={0x4200: value} | ({0x4209: le(line)} if kind != "nmi" else {}))],
    )


@family
def window_range(d: Dice) -> Row:
    left, right, window = d.between(0, 100), d.between(120, 255), d.pick(1, 2)
    name, back, port = label(d, "set", "window"), leave(d), 0x2126 if window == 1 else 0x2128
    return routine(
        d,
        [
            f"Set window {window} to the columns {left}-{right}.",
            f"Window {window}: left edge {left}, right edge {right}. Which registers?",
        ],
        f"{name}: | lda #{left} | sta {x4(port)} | lda #{right} | sta {x4(port + 1)} | {back}",
        [f"{x4(port)} is the left edge and {x4(port + 1)} the right edge of window {window}, both included."],
        ["$2123-$2125 decide which layers use the window.", "A left edge greater than the right gives an empty window."],
        [Run(out={port: bytes([left, right])})],
    )


@family
def mosaic_and_mode(d: Dice) -> Row:
    size, layers = d.between(1, 15), d.between(1, 15)
    name, back = label(d, "set", "mosaic"), leave(d)
    value = size << 4 | layers
    names = ", ".join(f"BG{k + 1}" for k in range(4) if layers >> k & 1)
    return routine(
        d,
        [f"Apply mosaic of {size + 1}x{size + 1} pixels to {names}.", f"Write $2106 for {names}, block size {size + 1}."],
        f"{name}: | lda #{x2(value)} | sta $2106 | {back}",
        [f"The high nibble is the block size minus one ({size}), and the low nibble selects {names}."],
        ["Bit 0 stands for BG1 and bit 3 for BG4.", "$2106 is write-only."],
        [Run(out={0x2106: value})],
    )


@family
def screen_layers(d: Dice) -> Row:
    main, sub = d.between(1, 31), d.between(0, 31)
    parts = ("BG1", "BG2", "BG3", "BG4", "OBJ")
    name, back = label(d, "show", "layers"), leave(d)

    def names(mask: int) -> str:
        return ", ".join(part for k, part in enumerate(parts) if mask >> k & 1) or "nothing"

    return routine(
        d,
        [
            f"Show {names(main)} on the main screen and {names(sub)} on the sub screen.",
            f"Main screen: {names(main)}. Sub screen: {names(sub)}. Set the registers directly.",
        ],
        f"{name}: | lda #{x2(main)} | sta $212C | "
        + (f"lda #{x2(sub)} | sta $212D" if sub else "stz $212D")
        + f" | {back}",
        ["$212C is the main screen and $212D the sub screen; bits 0-3 are BG1-BG4 and bit 4 the objects."],
        ["Both registers are write-only."],
        [Run(out={0x212C: bytes([main, sub])})],
    )
