"""Table look-ups, jump tables and dispatch."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, routine, words, x2, x4, x6


def _list(values: list[int], wide: bool = False) -> str:
    return (".word " if wide else ".byte ") + ", ".join((x4 if wide else x2)(value) for value in values)


@family
def byte_table(d: Dice) -> Row:
    count = d.pick(4, 4, 6, 8)
    values = [d.between(0, 255) for _ in range(count)]
    source, what = d.pick((0x2F, "Link's direction / 2"), (0x1A, "the frame counter"), (0x11, "the submodule"))
    name, table, back = label(d, "pick", d.pick("tile", "speed", "frame")), label(d, "value", "table"), leave(d)
    power = count & (count - 1) == 0
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
            f"Use {what} ({x2(source)}) to pick one of {count} bytes from a table; result in A.",
            f"Write {name}: index a {count}-byte table by {what}, {x2(source)}, with a bound on the index.",
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
    return routine(
        d,
        [
            f"Look up a 16-bit value by the index at {x4(source)} and store it at {x4(target)} ({count} entries).",
            f"Write {name}: {x4(target)} = table[{x4(source)}], words, {count} of them.",
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
            f"Records of {stride} bytes lie at {x6(base)}. Read the word at offset {field} of record {x4(source)} into {x2(dp)}.",
            f"Write {name}: index (byte at {x4(source)}) times {stride}, then a long,x load from {x6(base + field)} to {x2(dp)}.",
        ],
        f"{name}: | rep #$30 | lda {x4(source)} | and #$00FF | {' | '.join(['asl a'] * shift)} | tax | lda {x6(base + field)},x"
        f" | sta {x2(dp)} | sep #$30 | {back}",
        [f"{shift} shift{'s' * (shift > 1)} multiply the index by {stride}, with 16-bit X so that all 256 records are in reach."],
        ["and #$00FF removes the byte above the index.", "long,x reaches bank $7F whatever DB holds."],
        [
            Run(mem={source: v, source + 1: 0x44, base + field + v * stride: le(0xBEEF)}, out={dp: le(0xBEEF)})
            for v in (0, 3, 255)
        ],
    )


@family
def jump_table(d: Dice) -> Row:
    count = d.between(2, 4)
    source, target = d.pick(0x10, 0x11, 0xB0, 0x0600), 0x0700 + d.step(0, 0x80, 2)
    name, back = label(d, "run", d.pick("state", "mode", "step")), leave(d)
    values = d.some(list(range(1, 200)), count)
    table = label(d, "handlers")
    call = d.chance(0.5)
    where = x2(source) if source < 256 else x4(source)
    parts = " | ".join(f"@h{k}: | lda #{v} | sta {x4(target)} | {'rts' if call else back}" for k, v in enumerate(values))
    entries = ", ".join(f"@h{k}" for k in range(count))
    head = f"jsr (@{table},x) | {back}" if call else f"jmp (@{table},x)"
    return routine(
        d,
        [
            f"Dispatch on {where} ({count} states) with an indirect {'jsr' if call else 'jmp'} table."
            f" Let state n store one of {', '.join(map(str, values))} in {x4(target)}.",
            f"State machine: state in {where}, {count} handlers, {'jsr' if call else 'jmp'} (table,x)."
            f" The handlers write {', '.join(map(str, values))} to {x4(target)}.",
        ],
        f"{name}: | lda {where} | asl a | tax | {head} | @{table}: | .addr {entries} | {parts}",
        [
            "jsr (table,x) calls the handler, which comes back with rts."
            if call
            else f"The handlers end with {back} and return straight to the caller."
        ],
        [
            "Each entry is a 16-bit address, hence asl.",
            "The indirect table is read from the program bank, not from DB.",
            "The state is trusted; a bad value would jump to a random address.",
        ],
        [Run(mem={source: k}, out={target: v}) for k, v in enumerate(values)],
    )


@family
def rts_trick(d: Dice) -> Row:
    count, source, target = d.between(2, 3), 0x0600 + d.step(0, 0x80, 8), 0x0700
    name, values = label(d, "dispatch", d.pick("menu", "event")), d.some(list(range(1, 99)), count)
    parts = " | ".join(f"@h{k}: | lda #{v} | sta {x4(target)} | rts" for k, v in enumerate(values))
    entries = ", ".join(f"@h{k}-1" for k in range(count))
    return routine(
        d,
        [
            f"Dispatch on {x4(source)} with the push-address-and-rts trick ({count} handlers).",
            f"Write {name}: push a table word and rts to it; index at {x4(source)}, {count} targets.",
        ],
        f"{name}: | lda {x4(source)} | asl a | tax | lda @table+1,x | pha | lda @table,x | pha | rts | @table:"
        f" | .addr {entries} | {parts}",
        ["rts adds one to the address it pulls, so the table holds each address minus one."],
        ["The high byte is pushed first, because the stack grows down.", "A must be 8 bits wide for the two pushes."],
        [Run(mem={source: k}, out={target: v}) for k, v in enumerate(values)],
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
        result = {"set": start | masks[k], "clear": start & ~masks[k], "toggle": start ^ masks[k], "test": start}[action]
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
        f"{name}: | lda {x4(source)} | and #$07 | tax | lda @bit,x | pha | lda {x4(source)} | lsr a | lsr a | lsr a | tax"
        f" | pla | ora {x4(base)},x | sta {x4(base)},x | {back} | @bit: | {_list([1 << k for k in range(8)])}",
        ["Three shifts give the byte index and the low three bits choose the mask."],
        ["The mask waits on the stack while X gets the byte index.", "Flag 255 is bit 7 of the last byte."],
        [Run(mem={source: v}, out={base + v // 8: 1 << v % 8}) for v in (0, 13, 255)],
    )


@family
def terminated_search(d: Dice) -> Row:
    count = d.between(3, 6)
    keys = d.some(list(range(1, 0xF0)), count)
    values = [d.between(1, 250) for _ in keys]
    name, back, missing = label(d, "translate", d.pick("id", "item", "tile")), leave(d), d.between(0, 255)
    pairs = ", ".join(f"{x2(k)}, {x2(v)}" for k, v in zip(keys, values, strict=True))
    absent = next(k for k in range(1, 0xF0) if k not in keys)
    return routine(
        d,
        [
            f"Translate A with a list of key/value pairs ended by $FF; unknown keys give {x2(missing)}.",
            f"Write {name}: {count} pairs, terminator $FF, result in A, {x2(missing)} when the key is not listed.",
        ],
        f"{name}: | sta $00 | ldx #0 | @scan: | lda @pairs,x | cmp #$FF | beq @none | inx | inx | cmp $00 | bne @scan"
        f" | lda @pairs-1,x | {back} | @none: | lda #{x2(missing)} | {back} | @pairs: | .byte {pairs}, $FF",
        ["X has already moved to the next pair when the keys match, so the value sits at @pairs-1,x."],
        ["$FF cannot be used as a key.", "The key waits in $00 while A reads the list."],
        [Run(regs={"a": k}, end={"a": v}) for k, v in zip(keys, values, strict=True)]
        + [Run(regs={"a": absent}, end={"a": missing})],
    )


@family
def range_buckets(d: Dice) -> Row:
    count = d.between(3, 5)
    steps = sorted(d.some([k for k in range(5, 250, 5)], count))
    name, back = label(d, d.pick("rank", "grade", "bucket")), leave(d)

    def rank(value: int) -> int:
        return sum(1 for step in steps if value >= step)

    return routine(
        d,
        [
            f"Turn A into a rank: how many of the limits {', '.join(map(str, steps))} has it reached? Result in X.",
            f"Write {name}: X = number of thresholds in the list {', '.join(map(str, steps))} that are <= A.",
        ],
        f"{name}: | ldx #0 | @test: | cmp @limits,x | bcc @done | inx | cpx #{count} | bne @test | @done: | {back}"
        f" | @limits: | .byte {', '.join(map(str, steps))}",
        ["The limits ascend, so the first one above A ends the search."],
        [f"The result lies between 0 and {count}.", "cmp leaves A as it is, and bcc means A is below the limit."],
        [Run(regs={"a": v}, end={"x": rank(v)}) for v in (0, steps[0], steps[-1], 255, steps[1] - 1)],
    )


@family
def parallel_tables(d: Dice) -> Row:
    xs = [d.pick(0, 8, 16, 0xF8, 0xF0, 4) for _ in range(4)]
    ys = [d.pick(0, 8, 16, 0xF8, 0xF0, 12) for _ in range(4)]
    name, back, index = label(d, "offset", "by", "direction"), leave(d), d.pick(0x2F, 0x2F, 0x0600)
    dx, dy = 0x0700 + d.step(0, 0x40, 2), 0x0780
    where = "$2F" if index == 0x2F else x4(index)
    return routine(
        d,
        [
            f"From the direction at {where} (0, 2, 4, 6) get an X offset to {x4(dx)} and a Y offset to {x4(dy)}.",
            f"Write {name}: two parallel 4-entry tables read by {where} / 2, results in {x4(dx)} and {x4(dy)}.",
        ],
        f"{name}: | lda {where} | lsr a | tax | lda @xs,x | sta {x4(dx)} | lda @ys,x | sta {x4(dy)} | {back}"
        f" | @xs: | {_list(xs)} | @ys: | {_list(ys)}",
        ["One index serves both tables, because their entries are in the same order."],
        ["Bytes of $80 and above are negative offsets.", "In $2F the values 0, 2, 4, 6 mean up, down, left and right."],
        [Run(mem={index: 2 * k}, out={dx: xs[k], dy: ys[k]}) for k in range(4)],
    )


@family
def split_address_table(d: Dice) -> Row:
    count, dp, source = d.between(2, 4), d.step(0, 12, 3), low_ram(d)
    targets = [0x7E0000 + d.between(0x2000, 0xF000) if d.chance(0.5) else 0x7F0000 + d.between(0x2000, 0xF000) for _ in range(count)]
    name, back = label(d, "select", d.pick("buffer", "source", "target")), leave(d)
    rows = [
        f"@low: | .byte {', '.join(x2(t & 255) for t in targets)}",
        f"@high: | .byte {', '.join(x2(t >> 8 & 255) for t in targets)}",
        f"@bank: | .byte {', '.join(x2(t >> 16) for t in targets)}",
    ]
    return routine(
        d,
        [
            f"Set the long pointer {x2(dp)} to one of {', '.join(x6(t) for t in targets)}, chosen by {x4(source)}.",
            f"Write {name}: byte tables for low, high and bank; index {x4(source)}; pointer at {x2(dp)}."
            f" Targets: {', '.join(x6(t) for t in targets)}.",
        ],
        f"{name}: | ldx {x4(source)} | lda @low,x | sta {x2(dp)} | lda @high,x | sta {x2(dp + 1)} | lda @bank,x"
        f" | sta {x2(dp + 2)} | {back} | {' | '.join(rows)}",
        ["Three byte tables need no shift of the index: entry X of each belongs to target X."],
        [f"Afterwards lda [{x2(dp)}],y reads from the chosen target.", "Everything stays in 8-bit mode."],
        [Run(mem={source: k}, out={dp: le(t, 3)}) for k, t in enumerate(targets)],
    )


@family
def call_through_pointer(d: Dice) -> Row:
    dp, name = d.step(0, 12, 3), label(d, "call", d.pick("hook", "vector", "plugin"))
    target, value = 0x0700 + d.step(0, 0x40, 4), d.between(1, 250)
    back = leave(d)
    routine_bytes = bytes([0xA9, value, 0x8D]) + le(target) + b"\x6b"
    return routine(
        d,
        [
            f"Call the routine whose 24-bit address is stored at {x2(dp)}; it ends with rtl.",
            f"There is no jsl through a pointer. Write {name} to do it for the long pointer at {x2(dp)}.",
        ],
        f"{name}: | jsl @jump | {back} | @jump: | jml [{x4(dp)}]",
        ["jsl pushes the return address and the jml behind it leaves for the target, whose rtl then comes back here."],
        [
            f"{x2(dp)}-{x2(dp + 2)} hold low, high and bank byte.",
            "jml [addr] reads its pointer from bank $00.",
        ],
        [Run(mem={dp: le(0x018100, 3), 0x018100: routine_bytes}, out={target: value}, regs={"db": 0})],
    )


@family
def delta_list(d: Dice) -> Row:
    count = d.between(3, 7)
    deltas = [d.between(1, 9) if d.chance(0.6) else 256 - d.between(1, 9) for _ in range(count)]
    where, step = low_ram(d), 0x1A00 + d.step(0, 0x40, 2)
    name, back = label(d, d.pick("hover", "shake", "wobble")), leave(d)

    start = 0x80
    return routine(
        d,
        [
            f"Move {x4(where)} by a repeating list of {count} signed steps; the position in the list is at {x4(step)}.",
            f"Write {name}: each call adds the next of {count} deltas to {x4(where)}, index {x4(step)}, then wraps.",
        ],
        f"{name}: | ldx {x4(step)} | lda {x4(where)} | clc | adc @delta,x | sta {x4(where)} | inx | cpx #{count} | bcc @store"
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
        f"{name}: | rep #$30 | ldx #0 | txy | @put: | lda @text,y | and #$00FF | clc | adc #{x4(base - 0x41)} | sta {x6(target)},x"
        f' | inx | inx | iny | cpy #{count} | bne @put | sep #$30 | {back} | @text: | .byte "{text}"',
        [f"The ASCII code of A is $41, so adding {x4(base - 0x41)} maps it to {x4(base)}."],
        ["X advances by two per word and Y by one per letter.", "and #$00FF drops the following letter from the load."],
        [Run(out={target: words(*(base + ord(c) - 0x41 for c in text))})],
    )
