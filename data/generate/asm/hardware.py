"""DMA, video ports, interrupts and the joypad."""

from ..dice import Dice
from ..emulate import SCROLL, VRAM, Run
from .memory import low_ram
from .row import Row, family, label, le, leave, routine, x2, x4


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
    ends, step = (limit, 1) if way == "up" else (0, -1)
    runs = [
        Run(mem={0x13: level, 0x1A: frame}, out={0x13: level if level == ends or frame % every else level + step})
        for level, frame in ((7, every), (ends, 0), (ends - step, 4 * every), (5, 8), (6, 1), (4, 3), (8, 254))
    ]
    return routine(
        d,
        [
            f"Fade the screen {goal}: change the brightness copy at $13 by one step {pace}.",
            f"Write {name}: one brightness step {pace}, $13 (the $2100 mirror) goes {goal}.",
        ],
        code,
        [
            f"The brightness is the low four bits of $2100, and $13 is its copy in RAM; it stops at "
            f"{goal.rsplit(maxsplit=1)[-1]}."
        ],
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
        f"{name}: | lda #$80 | sta $2100 | sta $2115 | rep #$20 | lda #{x4(word)} | sta $2116 | lda #{x4(value)} | "
        f"sta $2118"
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
        [
            f"bit copies bit {port} of $4212 to the {'N' if port == 7 else 'V'} flag, so {branch} loops while it is "
            f"clear."
        ],
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
            f"Write {name}: wait for $4212 bit 0, then {x4(held)} = held buttons of pad {pad}, {x4(new)} = new "
            f"presses.",
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
        [Run(mem={source: le(v)}, out={SCROLL + 2 * (port - 0x210D): le(v)}) for v in (0x0134, 0x0201, 0x03FE)],
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
        else [
            f"Enable {what}{extra}.",
            f"Program $4200 for {what}{extra}.",
            f"Which $4200 write enables {what}{extra}?",
        ],
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
        (
            ["$4209/$420A hold the nine-bit line number.", "The I flag must be clear (cli) for the IRQ to arrive."]
            if kind != "nmi"
            else []
        )
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
        [
            "$2123-$2125 decide which layers use the window.",
            "A left edge greater than the right gives an empty window.",
        ],
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
        [
            f"Apply mosaic of {size + 1}x{size + 1} pixels to {names}.",
            f"Write $2106 for {names}, block size {size + 1}.",
        ],
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
