"""Table look-ups, jump tables and dispatch."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, routine, words, x2, x4, x6


def _list(values: list[int], wide: bool = False) -> str:
    return (".word " if wide else ".byte ") + ", ".join((x4 if wide else x2)(value) for value in values)


@family
def byte_table(d: Dice) -> Row:
    count = d.pick(4, 4, 6, 8)
    values = [d.between(0, 255) for _ in range(count)]
    source, what = d.pick((0x2F, "Link's direction / 2"), (0x1A, "the frame counter"), (0x11, "the submodule"))
    name, table, back = label(d, "pick", d.pick("tile", "speed", "frame")), label(d, "value", "table"), leave(d)
    power, shown = count & (count - 1) == 0, ", ".join(map(x2, values))
    limit = f"and #{x2(count - 1)}" if power else f"cmp #{count} | bcc @ok | lda #{count - 1} | @ok:"
    load = "lda $2F | lsr a" if source == 0x2F else f"lda {x2(source)}"
    runs = []
    for v in (0, 2, count):
        index = v >> 1 if source == 0x2F else v
        index = index % count if power else min(index, count - 1)
        runs.append(Run(mem={source: v}, end={"a": values[index]}))
    return routine(
        d,
        [
            f"Use {what} ({x2(source)}) to pick one of the bytes {shown}; result in A.",
            f"Write {name}: index the {count}-byte table {shown} by {what}, {x2(source)}, with a bound on the index.",
        ],
        f"{name}: | {load} | {limit} | tax | lda {table},x | {back} | {table}: | {_list(values)}",
        [
            f"and #{x2(count - 1)} keeps the index inside the {count} entries."
            if power
            else f"Indexes of {count} and above fall back to the last entry, {count - 1}."
        ],
        ["The table lies in the program bank, so DB must point there." if d.chance(0.5) else "tax needs 8-bit X here."]
        + (["Directions are 0, 2, 4 and 6, so lsr turns them into 0 to 3."] if source == 0x2F else []),
        runs,
    )


@family
def word_table(d: Dice) -> Row:
    count, source = d.between(3, 7), low_ram(d)
    values = [d.between(0x100, 0xFFFF) for _ in range(count)]
    target = 0x1A00 + d.step(0, 0x80, 2)
    name, table, back = label(d, "load", d.pick("offset", "speed", "address")), label(d, "word", "list"), leave(d)
    shown = ", ".join(map(x4, values))
    return routine(
        d,
        [
            f"Look up a 16-bit value by the index at {x4(source)} and store it at {x4(target)}; the words are {shown}.",
            f"Write {name}: {x4(target)} = table[{x4(source)}], with the words {shown}.",
        ],
        f"{name}: | lda {x4(source)} | asl a | tax | rep #$20 | lda {table},x | sta {x4(target)} | sep #$20 | {back}"
        f" | {table}: | {_list(values, True)}",
        ["asl doubles the index, since every entry is two bytes."],
        ["The index is computed in 8-bit mode and the value moved in 16-bit mode.", "The index is not range-checked."],
        [Run(mem={source: v}, out={target: le(values[v])}) for v in (0, count - 1)],
    )


@family
def long_table(d: Dice) -> Row:
    base, stride = 0x7F0000 + d.step(0x4000, 0x9000, 0x100), d.pick(2, 4, 8, 16)
    source, dp = low_ram(d), d.step(0, 12, 2)
    name, back, field = label(d, "read", d.pick("record", "tile", "node")), leave(d), d.between(0, 1)
    shift = stride.bit_length() - 1
    return routine(
        d,
        [
            f"Records of {stride} bytes lie at {x6(base)}. Read the word at offset {field} of record {x4(source)} "
            f"into {x2(dp)}.",
            f"Write {name}: index (byte at {x4(source)}) times {stride}, then a long,x load from {x6(base + field)} "
            f"to {x2(dp)}.",
        ],
        f"{name}: | rep #$30 | lda {x4(source)} | and #$00FF | {' | '.join(['asl a'] * shift)} | tax | lda "
        f"{x6(base + field)},x"
        f" | sta {x2(dp)} | sep #$30 | {back}",
        [
            f"{shift} shift{'s' * (shift > 1)} multiply the index by {stride}, with 16-bit X so that all 256 "
            f"records are in reach."
        ],
        ["and #$00FF removes the byte above the index.", "long,x reaches bank $7F whatever DB holds."],
        [
            Run(mem={source: v, source + 1: 0x44, base + field + v * stride: le(0xBEEF)}, out={dp: le(0xBEEF)})
            for v in (0, 3, 255)
        ],
    )


@family
def bit_mask_table(d: Dice) -> Row:
    base, index = low_ram(d), 0x1A00 + d.step(0, 0x80, 4)
    action = d.pick("set", "clear", "test", "toggle")
    name, back = label(d, action, "flag"), leave(d)
    low_first = d.chance(0.7)
    masks = [1 << k if low_first else 0x80 >> k for k in range(8)]
    step = {
        "set": f"ora {x4(base)} | sta {x4(base)}",
        "clear": f"eor #$FF | and {x4(base)} | sta {x4(base)}",
        "toggle": f"eor {x4(base)} | sta {x4(base)}",
        "test": f"and {x4(base)}",
    }[action]
    start, runs = 0b10100110, []
    for k in (0, 5, 7):
        result = {"set": start | masks[k], "clear": start & ~masks[k], "toggle": start ^ masks[k], "test": start}[
            action
        ]
        end = {"z": int(not start & masks[k])} if action == "test" else {}
        runs.append(Run(mem={base: start, index: k}, out={base: result}, end=end))
    order = "bit 0 first" if low_first else "bit 7 first"
    return routine(
        d,
        [
            f"{action.capitalize()} the flag in {x4(base)} whose number (0-7, {order}) is at {x4(index)}.",
            f"Write {name}: flag number at {x4(index)}, flags in the byte {x4(base)}, {order}; {action} it.",
        ],
        f"{name}: | ldx {x4(index)} | lda @mask,x | {step} | {back} | @mask: | {_list(masks)}",
        [
            {
                "set": "ora adds the bit and keeps the other seven.",
                "clear": "eor #$FF inverts the mask, and the and then removes just that bit.",
                "toggle": "eor flips the bit and leaves the rest.",
                "test": "and leaves zero when the flag is off, so the caller can use beq.",
            }[action]
        ],
        ["The table turns a bit number into a mask without a loop of shifts."],
        runs,
    )


@family
def flag_array(d: Dice) -> Row:
    base, source = low_ram(d), 0x1A00 + d.step(0, 0x80, 4)
    name, back = label(d, "mark", d.pick("room", "chest", "event")), leave(d)
    return routine(
        d,
        [
            f"256 flags are packed at {x4(base)} (32 bytes). Set the flag whose number is at {x4(source)}.",
            f"Write {name}: byte = number / 8, bit = number and 7, number at {x4(source)}, bits from {x4(base)}.",
        ],
        f"{name}: | lda {x4(source)} | and #$07 | tax | lda @bit,x | pha | lda {x4(source)} | lsr a | lsr a | lsr a "
        f"| tax"
        f" | pla | ora {x4(base)},x | sta {x4(base)},x | {back} | @bit: | {_list([1 << k for k in range(8)])}",
        ["Three shifts give the byte index and the low three bits choose the mask."],
        ["The mask waits on the stack while X gets the byte index.", "Flag 255 is bit 7 of the last byte."],
        [Run(mem={source: v}, out={base + v // 8: 1 << v % 8}) for v in (0, 13, 255)],
    )


@family
def parallel_tables(d: Dice) -> Row:
    xs = [d.pick(0, 8, 16, 0xF8, 0xF0, 4) for _ in range(4)]
    ys = [d.pick(0, 8, 16, 0xF8, 0xF0, 12) for _ in range(4)]
    name, back, index = label(d, "offset", "by", "direction"), leave(d), d.pick(0x2F, 0x2F, 0x0600)
    dx, dy = 0x0700 + d.step(0, 0x40, 2), 0x0780
    where = "$2F" if index == 0x2F else x4(index)
    shown = f"{', '.join(map(x2, xs))}; Y {', '.join(map(x2, ys))}"
    return routine(
        d,
        [
            f"From the direction at {where} (0, 2, 4, 6) get an X offset to {x4(dx)} and a Y offset to {x4(dy)}; X "
            f"{shown}.",
            f"Write {name}: two parallel 4-entry tables read by {where} / 2, results in {x4(dx)} and {x4(dy)}; X "
            f"{shown}.",
        ],
        f"{name}: | lda {where} | lsr a | tax | lda @xs,x | sta {x4(dx)} | lda @ys,x | sta {x4(dy)} | {back}"
        f" | @xs: | {_list(xs)} | @ys: | {_list(ys)}",
        ["One index serves both tables, because their entries are in the same order."],
        ["Bytes of $80 and above are negative offsets.", "In $2F the values 0, 2, 4, 6 mean up, down, left and right."],
        [Run(mem={index: 2 * k}, out={dx: xs[k], dy: ys[k]}) for k in range(4)],
    )


@family
def delta_list(d: Dice) -> Row:
    count = d.between(3, 7)
    deltas = [d.between(1, 9) if d.chance(0.6) else 256 - d.between(1, 9) for _ in range(count)]
    where, step = low_ram(d), 0x1A00 + d.step(0, 0x40, 2)
    name, back = label(d, d.pick("hover", "shake", "wobble")), leave(d)

    start = 0x80
    shown = ", ".join(str(delta - 256 if delta > 127 else delta) for delta in deltas)
    return routine(
        d,
        [
            f"Move {x4(where)} by the repeating steps {shown}; the position in the list is at {x4(step)}.",
            f"Write {name}: each call adds the next of {shown} to {x4(where)}, index {x4(step)}, then wraps.",
        ],
        f"{name}: | ldx {x4(step)} | lda {x4(where)} | clc | adc @delta,x | sta {x4(where)} | inx | cpx #{count} | "
        f"bcc @store"
        f" | ldx #0 | @store: | stx {x4(step)} | {back} | @delta: | {_list(deltas)}",
        ["Negative steps are stored as two's complement, so one adc serves both directions."],
        [f"After entry {count - 1} the index returns to 0."],
        [
            Run(mem={where: start, step: k}, out={where: (start + deltas[k]) & 255, step: (k + 1) % count})
            for k in (0, count - 1)
        ],
    )


@family
def tile_string(d: Dice) -> Row:
    text = d.pick("LINK", "GANON", "BOW", "HEART", "BOMB", "RUPEE", "MAGIC", "SAVE", "QUIT", "HYLIA", "ZORA")
    base, target = d.pick(0x2150, 0x2500, 0x3D00, 0x2900), 0x7E0000 + d.step(0x2000, 0x3000, 0x40)
    name, back = label(d, "draw", d.pick("text", "name")), leave(d)
    count = len(text)
    return routine(
        d,
        [
            f'Write the letters "{text}" as tilemap words at {x6(target)}; letter A is tile word {x4(base)}.',
            f'Expand the string "{text}" (A = {x4(base)}, B = {x4(base + 1)} ...) into words at {x6(target)}.',
        ],
        f"{name}: | rep #$30 | ldx #0 | txy | @put: | lda @text,y | and #$00FF | clc | adc #{x4(base - 0x41)} | sta "
        f"{x6(target)},x"
        f' | inx | inx | iny | cpy #{count} | bne @put | sep #$30 | {back} | @text: | .byte "{text}"',
        [f"The ASCII code of A is $41, so adding {x4(base - 0x41)} maps it to {x4(base)}."],
        ["X advances by two per word and Y by one per letter.", "and #$00FF drops the following letter from the load."],
        [Run(out={target: words(*(base + ord(c) - 0x41 for c in text))})],
    )
