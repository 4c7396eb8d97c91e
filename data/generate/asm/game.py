"""Link, the sprites, the game modules, sounds and buttons: the work RAM that A Link to the Past itself uses."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, routine, x2, x4

BUTTONS_HIGH = {
    "B": 0x80,
    "Y": 0x40,
    "Select": 0x20,
    "Start": 0x10,
    "up": 0x08,
    "down": 0x04,
    "left": 0x02,
    "right": 0x01,
}
BUTTONS_LOW = {"A": 0x80, "X": 0x40, "L": 0x20, "R": 0x10}


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
            f"Store {value} at {x4(flag)} {'in the frame' if fresh else 'while'} {button} is "
            f"{'pressed' if fresh else 'held'}.",
            f"Write {name}: if {button} is {'newly pressed' if fresh else 'down'}, write {value} to {x4(flag)}.",
        ],
        f"{name}: | lda {x2(port)} | and #{x2(mask)} | beq @no | lda #{value} | sta {x4(flag)} | @no: | {back}",
        [f"{button} is bit {mask.bit_length() - 1} ({x2(mask)}) of {x2(port)}."],
        [
            f"{x2(port)} shows "
            f"{'only the buttons that went down this frame' if fresh else 'the buttons that are down'}.",
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
        f"{name}: | stz {x4(flag)} | lda $F0 | and #{x2(mask)} | cmp #{x2(mask)} | bne @no | inc {x4(flag)} | @no: "
        f"| {back}",
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
            f"Guard some code: run it when $10 is {x2(module)} ({what})"
            + (f" and $11 is 0; here it counts {x4(flag)}." if normal else f"; here it counts {x4(flag)}."),
        ],
        f"{name}: | lda $10 | cmp #{x2(module)} | bne @no | {extra}inc {x4(flag)} | @no: | {back}",
        [f"$10 is the main module; {x2(module)} is the {what} module."],
        ["$11 is the submodule, which is 0 when no transition or menu is active."]
        if normal
        else ["cmp leaves A alone."],
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
            f"Carry set if Link's {axis} coordinate lies in the {2 * radius} pixels from {x4(low)} on.",
            f"Write {name}: test {x4(low)} <= Link {axis} ({x2(port)}, 16-bit) < {x4(middle + radius)}; result in "
            f"carry.",
        ],
        f"{name}: | rep #$20 | lda {x2(port)} | sec | sbc #{x4(low)} | cmp #{x4(2 * radius)} | sep #$20 | bcc @in | "
        f"clc | {back}"
        f" | @in: | sec | {back}",
        [
            f"After the subtraction a position in range lies between 0 and {2 * radius - 1}; everything else is "
            f"larger as unsigned.",
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
        [
            f"Move Link {amount} pixels {way}.",
            f"Write {name}: shift Link by {amount} pixels {way} (16-bit {x2(port)}).",
        ],
        f"{name}: | rep #$20 | lda {x2(port)} | {op} | sta {x2(port)} | sep #$20 | {back}",
        [f"Link's {axis} coordinate is the word at {x2(port)}; {way} means {'adding' if plus else 'subtracting'}."],
        [
            "No collision check is made, so the amount should be small.",
            f"With 8-bit A the {'carry' if plus else 'borrow'} would not reach the high byte.",
        ],
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
            f"{'Restore' if restore else 'Save'} Link's coordinates {'from' if restore else 'to'} {x4(target)} (Y "
            f"word, then X word).",
            f"Write {name}: copy {x4(target)}/{x4(target + 2)} {'back to' if restore else 'from'} Link's Y and X "
            f"words.",
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
def room_check(d: Dice) -> Row:
    room, flag, yes = d.between(0x10, 0x127), low_ram(d), d.between(1, 200)
    name, back = label(d, "room", d.pick("event", "script", "check")), leave(d)
    inside = d.chance(0.5)
    extra = "lda $1B | beq @no | " if inside else ""
    runs = [
        Run(mem={0xA0: le(room), 0x1B: 1}, out={flag: yes}),
        Run(mem={0xA0: le(room ^ 0x100), 0x1B: 1}, out={flag: 0}),
    ]
    if inside:
        runs.append(Run(mem={0xA0: le(room)}, out={flag: 0}))
    return routine(
        d,
        [
            f"Write {yes} to {x4(flag)} in dungeon room {x4(room)} only"
            + (", checking the indoors flag as well." if inside else "."),
            f"Write {name}: if the room word $A0 is {x4(room)}"
            + (" and $1B is set" if inside else "")
            + f", {x4(flag)} = {yes}.",
        ],
        f"{name}: | {extra}rep #$20 | lda $A0 | cmp #{x4(room)} | sep #$20 | bne @no | lda #{yes} | sta {x4(flag)} "
        f"| @no: | {back}",
        ["The room number is 16 bits, so it is compared in 16-bit mode; sep keeps the Z flag for the branch."],
        ["$1B is 1 indoors and 0 outdoors."] if inside else ["An 8-bit compare would also match the room 256 away."],
        runs,
    )


@family
def nmi_wait(d: Dice) -> Row:
    frames, name, back = d.between(2, 120), label(d, "wait", d.pick("frames", "delay")), leave(d)
    return routine(
        d,
        [
            f"Step a delay counter: start it with {frames} at $0600, and report by carry when it is over.",
            f"Write {name}: called once per frame, counts $0600 down from {frames}; carry set on the last call, "
            f"then reload.",
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
