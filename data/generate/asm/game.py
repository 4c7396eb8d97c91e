"""Link, the sprites, the game modules, sounds and buttons: the work RAM that A Link to the Past itself uses."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, routine, x2, x4

BUTTONS_HIGH = {"B": 0x80, "Y": 0x40, "Select": 0x20, "Start": 0x10, "up": 0x08, "down": 0x04, "left": 0x02, "right": 0x01}
BUTTONS_LOW = {"A": 0x80, "X": 0x40, "L": 0x20, "R": 0x10}
TIMERS = (0x0DF0, 0x0E00, 0x0E10, 0x0EE0)


@family
def button_pressed(d: Dice) -> Row:
    high = d.chance(0.5)
    button = d.of(sorted(BUTTONS_HIGH if high else BUTTONS_LOW))
    mask = (BUTTONS_HIGH if high else BUTTONS_LOW)[button]
    fresh = d.chance(0.6)
    port = (0xF4 if fresh else 0xF0) + (0 if high else 2)
    flag, value = low_ram(d), d.between(1, 9)
    name, back = label(d, "on", "button", button), leave(d)
    return routine(
        d,
        [
            f"Store {value} at {x4(flag)} {'in the frame' if fresh else 'while'} {button} is {'pressed' if fresh else 'held'}.",
            f"Write {name}: if {button} is {'newly pressed' if fresh else 'down'}, write {value} to {x4(flag)}.",
        ],
        f"{name}: | lda {x2(port)} | and #{x2(mask)} | beq @no | lda #{value} | sta {x4(flag)} | @no: | {back}",
        [f"{button} is bit {mask.bit_length() - 1} ({x2(mask)}) of {x2(port)}."],
        [
            f"{x2(port)} shows {'only the buttons that went down this frame' if fresh else 'the buttons that are down'}.",
            "$F0 and $F4 hold B, Y, Select, Start and the directions; $F2 and $F6 hold A, X, L and R.",
        ],
        [Run(mem={port: mask | 0x01}, out={flag: value}), Run(mem={port: 0xFF ^ mask, flag: 99}, out={flag: 99})],
    )


@family
def button_combo(d: Dice) -> Row:
    pair = d.some(sorted(BUTTONS_HIGH), 2)
    mask = BUTTONS_HIGH[pair[0]] | BUTTONS_HIGH[pair[1]]
    flag, name, back = low_ram(d), label(d, "combo", *pair), leave(d)
    return routine(
        d,
        [
            f"Set {x4(flag)} to 1 only when {pair[0]} and {pair[1]} are both held, else to 0.",
            f"Write {name}: {x4(flag)} = 1 while {pair[0]}+{pair[1]} are down together, 0 otherwise ($F0).",
        ],
        f"{name}: | stz {x4(flag)} | lda $F0 | and #{x2(mask)} | cmp #{x2(mask)} | bne @no | inc {x4(flag)} | @no: | {back}",
        [f"and with {x2(mask)} keeps both bits; only if both are set is the result equal to {x2(mask)}."],
        ["Testing with beq alone would accept either button.", "$F0 is the held state of controller 1."],
        [
            Run(mem={0xF0: 0xFF}, out={flag: 1}),
            Run(mem={0xF0: BUTTONS_HIGH[pair[0]], flag: 5}, out={flag: 0}),
        ],
    )


@family
def play_sound(d: Dice) -> Row:
    channel, sound = d.pick(0x012E, 0x012F, 0x012D), d.between(1, 0x3F)
    name, back = label(d, "play", d.pick("sound", "effect", "chime")), leave(d)
    polite = d.chance(0.5)
    check = f"lda {x4(channel)} | bne @busy | " if polite else ""
    runs = [Run(out={channel: sound})] + ([Run(mem={channel: 7}, out={channel: 7})] if polite else [])
    return routine(
        d,
        [
            f"Queue sound {x2(sound)} at {x4(channel)}" + (" unless another one is waiting." if polite else "."),
            f"Write {name}: request effect {x2(sound)} through {x4(channel)}" + (", if it is free." if polite else "."),
        ],
        f"{name}: | {check}lda #{x2(sound)} | sta {x4(channel)} | " + ("@busy: | " if polite else "") + back,
        [f"The game sends the byte at {x4(channel)} to the sound processor in the NMI routine."],
        ["$012E and $012F are the two sound effect queues, $012D is for ambient sounds."]
        + (["A byte other than 0 means that a request is still waiting."] if polite else []),
        runs,
    )


@family
def module_guard(d: Dice) -> Row:
    module, what = d.pick((0x07, "dungeon"), (0x09, "overworld"), (0x0E, "text or menu"))
    flag, name, back = low_ram(d), label(d, "only", d.pick("ingame", "there", "module")), leave(d)
    normal = d.chance(0.5)
    extra = "lda $11 | bne @no | " if normal else ""
    runs = [Run(mem={0x10: module}, out={flag: 1}), Run(mem={0x10: 0x14}, out={flag: 0})]
    if normal:
        runs.append(Run(mem={0x10: module, 0x11: 2}, out={flag: 0}))
    return routine(
        d,
        [
            f"Increment {x4(flag)} only in the {what} module" + (" with submodule 0." if normal else "."),
            f"Guard some code: run it when $10 is {x2(module)} ({what})" + (f" and $11 is 0; here it counts {x4(flag)}." if normal else f"; here it counts {x4(flag)}."),
        ],
        f"{name}: | lda $10 | cmp #{x2(module)} | bne @no | {extra}inc {x4(flag)} | @no: | {back}",
        [f"$10 is the main module; {x2(module)} is the {what} module."],
        ["$11 is the submodule, which is 0 when no transition or menu is active."] if normal else ["cmp leaves A alone."],
        runs,
    )


@family
def link_near_point(d: Dice) -> Row:
    axis, port = d.pick(("X", 0x22), ("Y", 0x20))
    middle, radius = d.step(0x100, 0xE00, 8), d.pick(8, 16, 24, 32, 48)
    name, back = label(d, "near", axis.lower(), d.pick("spot", "line")), leave(d)
    low = middle - radius
    return routine(
        d,
        [
            f"Carry set if Link's {axis} coordinate is within {radius} pixels of {x4(middle)}.",
            f"Write {name}: test {x4(low)} <= Link {axis} ({x2(port)}, 16-bit) < {x4(middle + radius)}; result in carry.",
        ],
        f"{name}: | rep #$20 | lda {x2(port)} | sec | sbc #{x4(low)} | cmp #{x4(2 * radius)} | sep #$20 | bcc @in | clc | {back}"
        f" | @in: | sec | {back}",
        [
            f"After the subtraction a position in range lies between 0 and {2 * radius - 1}; everything else is larger as unsigned.",
        ],
        [f"{x2(port)}/{x2(port + 1)} is Link's {axis} coordinate.", "sep #$20 does not disturb the carry of the cmp."],
        [
            Run(mem={port: le(v)}, end={"c": c})
            for v, c in ((low, 1), (middle + radius - 1, 1), (low - 1, 0), (middle + radius, 0), (5, 0))
        ],
    )


@family
def link_move(d: Dice) -> Row:
    axis, port = d.pick(("X", 0x22), ("Y", 0x20))
    amount, plus = d.between(1, 64), d.chance(0.5)
    name, back = label(d, "push", "link"), leave(d)
    op = f"clc | adc #{x4(amount)}" if plus else f"sec | sbc #{x4(amount)}"
    way = {("X", True): "right", ("X", False): "left", ("Y", True): "down", ("Y", False): "up"}[axis, plus]
    start = 0x07F8
    return routine(
        d,
        [f"Move Link {amount} pixels {way}.", f"Write {name}: shift Link by {amount} pixels {way} (16-bit {x2(port)})."],
        f"{name}: | rep #$20 | lda {x2(port)} | {op} | sta {x2(port)} | sep #$20 | {back}",
        [f"Link's {axis} coordinate is the word at {x2(port)}; {way} means {'adding' if plus else 'subtracting'}."],
        ["No collision check is made, so the amount should be small.", "An 8-bit add would lose the carry into the high byte."],
        [Run(mem={port: le(start)}, out={port: le(start + amount if plus else start - amount)})],
    )


@family
def save_position(d: Dice) -> Row:
    target, name, back = low_ram(d), label(d, d.pick("save", "store"), "spot"), leave(d)
    restore = d.chance(0.5)
    a, b = ((x4(target), "$20"), (x4(target + 2), "$22")) if restore else (("$20", x4(target)), ("$22", x4(target + 2)))
    mem = {target: le(0x123), target + 2: le(0x456)} if restore else {0x20: le(0x123), 0x22: le(0x456)}
    out = {0x20: le(0x123), 0x22: le(0x456), target: le(0x123), target + 2: le(0x456)}
    return routine(
        d,
        [
            f"{'Restore' if restore else 'Save'} Link's coordinates {'from' if restore else 'to'} {x4(target)} (Y word, then X word).",
            f"Write {name}: copy {x4(target)}/{x4(target + 2)} {'back to' if restore else 'from'} Link's Y and X words.",
        ],
        f"{name}: | rep #$20 | lda {a[0]} | sta {a[1]} | lda {b[0]} | sta {b[1]} | sep #$20 | {back}",
        ["$20 is Link's Y coordinate and $22 his X coordinate, both 16 bits."],
        ["Y stands before X in the game's RAM.", "Two word moves replace four byte moves."],
        [Run(mem=mem, out=out)],
    )


@family
def facing_branch(d: Dice) -> Row:
    way, value = d.pick(("up", 0), ("down", 2), ("left", 4), ("right", 6))
    flag, yes = low_ram(d), d.between(1, 250)
    name, back = label(d, "facing", way), leave(d)
    test = "lda $2F | bne @no" if value == 0 else f"lda $2F | cmp #{value} | bne @no"
    return routine(
        d,
        [f"If Link faces {way}, write {yes} to {x4(flag)}.", f"Write {name}: {x4(flag)} = {yes} when $2F says {way}."],
        f"{name}: | {test} | lda #{yes} | sta {x4(flag)} | @no: | {back}",
        [f"$2F is Link's direction, and {value} means {way}."],
        ["The values are 0 up, 2 down, 4 left, 6 right."] + (["For 0 the lda alone sets Z."] if value == 0 else []),
        [Run(mem={0x2F: value}, out={flag: yes}), Run(mem={0x2F: value ^ 4, flag: 255}, out={flag: 255})],
    )


@family
def sprite_free_slot(d: Dice) -> Row:
    up, name, back = d.chance(0.4), label(d, "find", d.pick("slot", "free")), leave(d)
    count = d.pick(16, 16, 16, 8, 12)
    code = (
        f"{name}: | ldx #0 | @scan: | lda $0DD0,x | beq @found | inx | cpx #{count} | bne @scan | clc | {back} | @found: | sec | {back}"
        if up
        else f"{name}: | ldx #{count - 1} | @scan: | lda $0DD0,x | beq @found | dex | bpl @scan | clc | {back} | @found: | sec | {back}"
    )
    table = bytes([9, 9, 0, 9, 9, 0] + [9] * 10)
    spot = 2 if up else 5
    return routine(
        d,
        [
            f"Find a free sprite slot among 0-{count - 1}, {'lowest' if up else 'highest'} first; X = slot, carry set if found.",
            f"Write {name}: scan $0DD0,x {'upwards from 0' if up else f'down from {count - 1}'} for an empty slot ({count} slots).",
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
            f"Sprite X: when its timer {x4(timer)} has run out, increment {x4(flag)},x and restart it with {frames} frames.",
            f"Write {name} for the current sprite (X): every {frames} frames step {x4(flag)},x using the timer {x4(timer)}.",
        ],
        f"{name}: | lda {x4(timer)},x | bne @wait | lda #{frames} | sta {x4(timer)},x | inc {x4(flag)},x | @wait: | {back}",
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
            f"{name}: | ldy #0 | ldx #15 | @each: | lda $0DD0,x | beq @skip | lda $0E20,x | cmp #{x2(ident)} | bne @skip | iny"
            f" | @skip: | dex | bpl @each | {back}"
        )
        ask = [
            f"Count the live sprites of type {x2(ident)}; result in Y.",
            f"Write {name}: Y = number of slots with state other than 0 and ID {x2(ident)}.",
        ]
        run = Run(mem={0x0E20: ids, 0x0DD0: states}, end={"y": 2})
    else:
        code = (
            f"{name}: | ldx #15 | @each: | lda $0E20,x | cmp #{x2(ident)} | bne @skip | stz $0DD0,x | @skip: | dex | bpl @each | {back}"
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
        f"{name}: | lda $22 | clc | adc #{dx} | sta $0D10,x | lda $23 | adc #0 | sta $0D30,x | lda $20 | clc | adc #{dy}"
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
def room_check(d: Dice) -> Row:
    room, flag, yes = d.between(0x10, 0x127), low_ram(d), d.between(1, 200)
    name, back = label(d, "room", d.pick("event", "script", "check")), leave(d)
    inside = d.chance(0.5)
    extra = "lda $1B | beq @no | " if inside else ""
    runs = [Run(mem={0xA0: le(room), 0x1B: 1}, out={flag: yes}), Run(mem={0xA0: le(room ^ 0x100), 0x1B: 1}, out={flag: 0})]
    if inside:
        runs.append(Run(mem={0xA0: le(room)}, out={flag: 0}))
    return routine(
        d,
        [
            f"Write {yes} to {x4(flag)} in dungeon room {x4(room)} only" + (", checking the indoors flag as well." if inside else "."),
            f"Write {name}: if the room word $A0 is {x4(room)}" + (" and $1B is set" if inside else "") + f", {x4(flag)} = {yes}.",
        ],
        f"{name}: | {extra}rep #$20 | lda $A0 | cmp #{x4(room)} | sep #$20 | bne @no | lda #{yes} | sta {x4(flag)} | @no: | {back}",
        ["The room number is 16 bits, so it is compared in 16-bit mode; sep keeps the Z flag for the branch."],
        ["$1B is 1 indoors and 0 outdoors."] if inside else ["An 8-bit compare would also match the room 256 away."],
        runs,
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
            f"Do two boxes of width {width} overlap? Left edges are the bytes {x4(one)} and {x4(two)}; carry set if they do.",
            f"Write {name}: carry set when |{x4(one)} - {x4(two)}| < {width} (unsigned bytes).",
        ],
        f"{name}: | lda {x4(one)} | sec | sbc {x4(two)} | bcs @plus | eor #$FF | inc a | @plus: | cmp #{width} | bcs @apart"
        f" | sec | {back} | @apart: | clc | {back}",
        ["A borrow means that the difference is negative, so it is negated to get the distance."],
        [f"The distance must be smaller than {width} for an overlap.", "cmp sets the carry for distances that are too big."],
        [
            Run(mem={one: a, two: b}, end={"c": carry(a, b)})
            for a, b in ((100, 100), (100, 100 + width - 1), (100, 100 + width), (255, 0), (60 + width, 61))
        ],
    )


@family
def nmi_wait(d: Dice) -> Row:
    frames, name, back = d.between(2, 120), label(d, "wait", d.pick("frames", "delay")), leave(d)
    return routine(
        d,
        [
            f"Step a delay counter: start it with {frames} at $0600, and report by carry when it is over.",
            f"Write {name}: called once per frame, counts $0600 down from {frames}; carry set on the last call, then reload.",
        ],
        f"{name}: | lda $0600 | bne @run | lda #{frames} | sta $0600 | @run: | dec $0600 | bne @not | sec | {back}"
        f" | @not: | clc | {back}",
        [f"A counter of 0 is reloaded with {frames}; the call that brings it to 0 returns with carry set."],
        ["dec on memory sets Z, so bne follows it directly.", f"One round takes {frames} calls."],
        [
            Run(mem={0x600: 0}, out={0x600: frames - 1}, end={"c": 0}),
            Run(mem={0x600: 1}, out={0x600: 0}, end={"c": 1}),
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
