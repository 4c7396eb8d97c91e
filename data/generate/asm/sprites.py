"""The sprites of A Link to the Past, their slots, places, timers and OAM entries."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, routine, x2, x4

TIMERS = (0x0DF0, 0x0E00, 0x0E10, 0x0EE0)


@family
def sprite_free_slot(d: Dice) -> Row:
    up, name, back = d.chance(0.4), label(d, "find", d.pick("slot", "free")), leave(d)
    count = d.pick(16, 16, 16, 8, 12)
    code = (
        f"{name}: | ldx #0 | @scan: | lda $0DD0,x | beq @found | inx | cpx #{count} | bne @scan | clc | {back} | "
        f"@found: | sec | {back}"
        if up
        else f"{name}: | ldx #{count - 1} | @scan: | lda $0DD0,x | beq @found | dex | bpl @scan | clc | {back} | "
        f"@found: | sec | {back}"
    )
    table = bytes([9, 9, 0, 9, 9, 0] + [9] * 10)
    spot = 2 if up else 5
    return routine(
        d,
        [
            f"Find a free sprite slot among 0-{count - 1}, {'lowest' if up else 'highest'} first; X = slot, carry "
            f"set if found.",
            f"Write {name}: scan $0DD0,x {'upwards from 0' if up else f'down from {count - 1}'} for an empty slot "
            f"({count} slots).",
        ],
        code,
        ["$0DD0 holds the state of each sprite, and 0 means that the slot is unused."],
        ["The carry tells the caller whether X is valid.", "The game has 16 sprite slots."],
        [Run(mem={0x0DD0: table}, end={"x": spot, "c": 1}), Run(mem={0x0DD0: b"\x09" * 16}, end={"c": 0})],
    )


@family
def sprite_timer(d: Dice) -> Row:
    timer, frames = d.of(TIMERS), d.between(8, 200)
    flag, name, back = low_ram(d), label(d, "timer", d.pick("event", "phase")), leave(d)
    return routine(
        d,
        [
            f"Sprite X: when its timer {x4(timer)} has run out, increment {x4(flag)},x and restart it with {frames} "
            f"frames.",
            f"Write {name} for the current sprite (X): every {frames} frames step {x4(flag)},x using the timer "
            f"{x4(timer)}.",
        ],
        f"{name}: | lda {x4(timer)},x | bne @wait | lda #{frames} | sta {x4(timer)},x | inc {x4(flag)},x | @wait: | "
        f"{back}",
        [f"The game itself counts {x4(timer)},x down once per frame while it is not 0."],
        [f"{frames} frames are about {frames / 60:.1f} seconds.", "X is the sprite slot, as in all sprite code."],
        [
            Run(regs={"x": 3}, mem={timer + 3: 0, flag + 3: 4}, out={timer + 3: frames, flag + 3: 5}),
            Run(regs={"x": 3}, mem={timer + 3: 2, flag + 3: 4}, out={timer + 3: 2, flag + 3: 4}),
        ],
    )


@family
def sprite_loop(d: Dice) -> Row:
    ident, name, back = d.between(1, 0xEF), label(d, d.pick("count", "number"), "kind"), leave(d)
    act = d.pick("count", "remove")
    ids = bytes(ident if k in (2, 7, 11) else (ident + k + 1) & 255 for k in range(16))
    states = bytes(0 if k == 7 else 9 for k in range(16))
    if act == "count":
        code = (
            f"{name}: | ldy #0 | ldx #15 | @each: | lda $0DD0,x | beq @skip | lda $0E20,x | cmp #{x2(ident)} | bne "
            f"@skip | iny"
            f" | @skip: | dex | bpl @each | {back}"
        )
        ask = [
            f"Count the live sprites of type {x2(ident)}; result in Y.",
            f"Write {name}: Y = number of slots with state other than 0 and ID {x2(ident)}.",
        ]
        run = Run(mem={0x0E20: ids, 0x0DD0: states}, end={"y": 2})
    else:
        code = (
            f"{name}: | ldx #15 | @each: | lda $0E20,x | cmp #{x2(ident)} | bne @skip | stz $0DD0,x | @skip: | "
            f"dex | bpl @each | {back}"
        )
        ask = [
            f"Remove every sprite of type {x2(ident)} from the room.",
            f"Write {name}: clear the state of all 16 slots whose ID is {x2(ident)}.",
        ]
        run = Run(
            mem={0x0E20: ids, 0x0DD0: b"\x09" * 16},
            out={0x0DD0: bytes(0 if v == ident else 9 for v in ids)},
        )
    return routine(
        d,
        ask,
        code,
        ["$0E20 is the sprite ID and $0DD0 its state, 16 bytes each, one per slot."],
        ["A dead slot keeps its old ID, so the state is tested too." if act == "count" else "State 0 frees the slot."],
        [run],
    )


@family
def sprite_distance(d: Dice) -> Row:
    axis, low, high, link = d.pick(("X", 0x0D10, 0x0D30, 0x22), ("Y", 0x0D00, 0x0D20, 0x20))
    name, back, target = label(d, "delta", axis.lower()), leave(d), d.step(0, 14, 2)
    return routine(
        d,
        [
            f"Compute Link's {axis} minus the {axis} of sprite X as a 16-bit difference in {x2(target)}.",
            f"Write {name}: {x2(target)} (word) = Link {axis} - sprite {axis} for slot X.",
        ],
        f"{name}: | lda {x2(link)} | sec | sbc {x4(low)},x | sta {x2(target)} | lda {x2(link + 1)} | sbc {x4(high)},x"
        f" | sta {x2(target + 1)} | {back}",
        ["The low bytes are subtracted first, and the borrow passes to the high bytes through the carry."],
        [
            f"Sprite coordinates are split into two tables, {x4(low)} (low) and {x4(high)} (high).",
            "A negative result means that Link is " + ("left of the sprite." if axis == "X" else "above the sprite."),
        ],
        [
            Run(regs={"x": 5}, mem={link: le(a), low + 5: b & 255, high + 5: b >> 8}, out={target: le(a - b)})
            for a, b in ((0x0210, 0x01F0), (0x0100, 0x0180))
        ],
    )


@family
def sprite_place(d: Dice) -> Row:
    dx, dy = d.pick(0, 8, 16, 24, 32), d.pick(0, 8, 16, 24)
    name, back = label(d, d.pick("put", "place"), "sprite"), leave(d)
    return routine(
        d,
        [
            f"Place sprite X {dx} pixels right of and {dy} pixels below Link.",
            f"Write {name}: sprite slot X gets Link's position plus ({dx}, {dy}).",
        ],
        f"{name}: | lda $22 | clc | adc #{dx} | sta $0D10,x | lda $23 | adc #0 | sta $0D30,x | lda $20 | clc | adc "
        f"#{dy}"
        f" | sta $0D00,x | lda $21 | adc #0 | sta $0D20,x | {back}",
        ["adc #0 carries the overflow of the low byte into the high byte."],
        ["$0D10/$0D30 are the X halves and $0D00/$0D20 the Y halves.", "Each low add starts with clc."],
        [
            Run(
                regs={"x": 2},
                mem={0x22: le(0x05F4), 0x20: le(0x02F0)},
                out={
                    0x0D12: (0xF4 + dx) & 255,
                    0x0D32: (0x5F4 + dx) >> 8,
                    0x0D02: (0xF0 + dy) & 255,
                    0x0D22: (0x2F0 + dy) >> 8,
                },
            )
        ],
    )


@family
def sprite_velocity(d: Dice) -> Row:
    speed = d.between(4, 0x30)
    name, back = label(d, "set", "speed"), leave(d)
    axis, port = d.pick(("X", 0x0D50), ("Y", 0x0D40))
    turn = d.chance(0.5)
    if turn:
        code = f"{name}: | lda {x4(port)},x | eor #$FF | inc a | sta {x4(port)},x | {back}"
        ask = [
            f"Make sprite X bounce: negate its {axis} velocity.",
            f"Reverse the {axis} speed of the sprite in slot X, {x4(port)},x.",
            f"Write {name}: flip the sign of {x4(port)},x.",
        ]
        must = ["eor #$FF and inc a negate a signed byte."]
        runs = [Run(regs={"x": 4}, mem={port + 4: speed}, out={port + 4: 256 - speed})]
    else:
        code = f"{name}: | lda #{x2(256 - speed)} | sta {x4(port)},x | {back}"
        ask = [
            f"Give sprite X a velocity of -{speed} on the {axis} axis.",
            f"Write {name}: sprite slot X moves {'left' if axis == 'X' else 'up'} with speed {speed}.",
        ]
        must = [f"-{speed} is {x2(256 - speed)} in two's complement, and {x4(port)} is the {axis} velocity."]
        runs = [Run(regs={"x": 4}, out={port + 4: 256 - speed})]
    return routine(
        d,
        ask,
        code,
        must,
        ["Velocities are signed: negative is " + ("left." if axis == "X" else "up."), "X selects the sprite slot."],
        runs,
    )


@family
def blink(d: Dice) -> Row:
    bit, flag = d.between(0, 5), low_ram(d)
    on, off = d.between(1, 100), d.between(101, 250)
    name, back, mask = label(d, "blink", d.pick("frame", "tile", "light")), leave(d), 1 << bit
    return routine(
        d,
        [
            f"Alternate {x4(flag)} between {off} and {on}, switching every {mask} frame{'s' * (mask > 1)}.",
            f"Write {name}: {x4(flag)} = {on} while bit {bit} of $1A is set, otherwise {off}.",
        ],
        f"{name}: | ldy #{off} | lda $1A | and #{x2(mask)} | beq @put | ldy #{on} | @put: | sty {x4(flag)} | {back}",
        [f"Bit {bit} of the frame counter $1A changes every {mask} frame{'s' * (mask > 1)}."],
        ["Y takes the default first and the other value only if the bit is set."],
        [Run(mem={0x1A: mask}, out={flag: on}), Run(mem={0x1A: 0xFF ^ mask}, out={flag: off})],
    )


@family
def overlap_box(d: Dice) -> Row:
    one, two, width = low_ram(d), 0x1A00 + d.step(0, 0x80, 2), d.between(4, 40)
    name, back = label(d, "touch", d.pick("test", "box")), leave(d)

    def carry(a: int, b: int) -> int:
        return int(-width < a - b < width)

    return routine(
        d,
        [
            f"Do two boxes of width {width} overlap? Left edges are the bytes {x4(one)} and {x4(two)}; carry set if "
            f"they do.",
            f"Write {name}: carry set when |{x4(one)} - {x4(two)}| < {width} (unsigned bytes).",
        ],
        f"{name}: | lda {x4(one)} | sec | sbc {x4(two)} | bcs @plus | eor #$FF | inc a | @plus: | cmp #{width} | "
        f"bcs @apart"
        f" | sec | {back} | @apart: | clc | {back}",
        ["A borrow means that the difference is negative, so it is negated to get the distance."],
        [
            f"The distance must be smaller than {width} for an overlap.",
            "cmp sets the carry for distances that are too big.",
        ],
        [
            Run(mem={one: a, two: b}, end={"c": carry(a, b)})
            for a, b in ((100, 100), (100, 100 + width - 1), (100, 100 + width), (255, 0), (60 + width, 61))
        ],
    )


@family
def oam_entry(d: Dice) -> Row:
    slot, tile, palette = d.between(0, 127), d.between(0, 255), d.between(0, 7)
    priority, flip = d.between(0, 3), d.pick(0, 0x40, 0x80)
    attribute = flip | priority << 4 | palette << 1
    x, y = d.between(0, 240), d.between(0, 220)
    name, back, base = label(d, "draw", d.pick("icon", "marker", "cursor")), leave(d), 0x0800 + 4 * slot
    return routine(
        d,
        [
            f"Put tile {x2(tile)} at ({x}, {y}) into OAM buffer slot {slot}, palette {palette}, priority {priority}"
            + {0: ".", 0x40: ", flipped horizontally.", 0x80: ", flipped vertically."}[flip],
            f"OAM slot {slot} of the $0800 buffer: x {x}, y {y}, tile {x2(tile)}, attributes {x2(attribute)}.",
        ],
        f"{name}: | lda #{x} | sta {x4(base)} | lda #{y} | sta {x4(base + 1)} | lda #{x2(tile)} | sta {x4(base + 2)}"
        f" | lda #{x2(attribute)} | sta {x4(base + 3)} | {back}",
        [f"Each entry is four bytes (x, y, tile, attributes), so slot {slot} starts at {x4(base)}."],
        [f"{x2(attribute)} is flip bits, priority * 16 and palette * 2.", "The size bit lives in the high OAM table."],
        [Run(out={base: bytes([x, y, tile, attribute])})],
    )
