"""Jump tables, calls through pointers and choices by state."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, routine, x2, x4, x6


@family
def jump_table(d: Dice) -> Row:
    count = d.between(2, 4)
    source, target = d.pick(0x10, 0x11, 0xB0, 0x0600), 0x0700 + d.step(0, 0x80, 2)
    name, back = label(d, "run", d.pick("state", "mode", "step")), leave(d)
    values = d.some(list(range(1, 200)), count)
    table = label(d, "handlers")
    call = d.chance(0.5)
    where = x2(source) if source < 256 else x4(source)
    parts = " | ".join(
        f"@h{k}: | lda #{v} | sta {x4(target)} | {'rts' if call else back}" for k, v in enumerate(values)
    )
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
            f"Translate A with the key/value pairs {pairs}; unknown keys give {x2(missing)}.",
            f"Write {name}: pairs {pairs}, terminator $FF, result in A, {x2(missing)} when the key is not listed.",
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
    steps = sorted(d.some(range(5, 250, 5), count))
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
def split_address_table(d: Dice) -> Row:
    count, dp, source = d.between(2, 4), d.step(0, 12, 3), low_ram(d)
    targets = [
        0x7E0000 + d.between(0x2000, 0xF000) if d.chance(0.5) else 0x7F0000 + d.between(0x2000, 0xF000)
        for _ in range(count)
    ]
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
