"""Faults that show when the code runs: widths, stack, banks, flags and loops, with dumps that the emulator confirms."""

from ..asm.memory import low_ram
from ..asm.row import label, le, loop, x2, x4, x6
from ..dice import Dice
from ..emulate import Run
from .case import Case, cause, dumped


@cause
def brk_from_wide_immediate(d: Dice) -> Case:
    value, where = d.between(1, 255), low_ram(d)
    op = d.pick("lda", "and", "ora", "eor")
    name = label(d, d.pick("set", "read", "mask"), "value")
    return dumped(
        d, f"{name}: | .a16 | {op} #{x4(value)} | sta {x4(where)} | rts",
        f"{name} = $8000, on entry P has M=1\nBRK executed at $8002",
        d.pick("the code was assembled for 16-bit A but runs with 8-bit A.",
        "M is set while the immediate is two bytes long."),
        f"with M=1 the CPU takes {op} #{x2(value)} and then executes the high byte $00 at $8002, which is BRK.",
        f"insert `rep #$20` before the {op}, or assemble it with .a8.",
        Run(), crash="brk at $8002",
    )  # fmt: skip


@cause
def swallowed_opcode(d: Dice) -> Case:
    value, where = d.between(1, 255), low_ram(d)
    name = label(d, d.pick("store", "put"), "byte")
    return dumped(
        d, f"{name}: | rep #$20 | lda #{x4(value)} | .a8 | lda #{x2(value)} | sta {x4(where)} | rts",
        f"{name} = $8000\nAfter the second lda: A={x4(value | 0x8D00)}, next opcode fetched at $8008",
        d.pick("A is still 16 bits wide where the source says .a8.",
        ".a8 tells the assembler something that the CPU does not know."),
        f"the high byte of A is $8D, the opcode of the sta, so lda took {x2(value)} and that byte as a 16-bit operand.",
        "write `sep #$20` before `.a8`; the directive alone changes no register width.",
        Run(stop=0x8008, end={"a": value | 0x8D00, "m": 0}),
    )  # fmt: skip


@cause
def index_truncated(d: Dice) -> Case:
    value, base = d.between(0x101, 0x1FFF), 0x7F0000 + d.step(0x1000, 0x8000, 0x100)
    item = d.between(1, 250)
    return dumped(
        d, f"{label(d, 'read', 'map')}: | rep #$10 | ldx #{x4(value)} | sep #$30 | lda {x6(base)},x | rts",
        f"after the lda: X={x4(value & 255)} A={x2(item)} (the byte of {x6(base + (value & 255))})",
        d.pick("sep #$30 cut X to 8 bits.", "the index lost its high byte when the index width was reduced."),
        f"X was loaded with {x4(value)}, but the dump shows {x4(value & 255)}; setting the X flag clears the high "
        f"byte.",
        "use `sep #$20`, which leaves the index width alone.",
        Run(mem={base + (value & 255): item}, end={"x": value & 255, "a": item}),
    )  # fmt: skip


@cause
def bank_after_mvn(d: Dice) -> Case:
    size, where, value = d.step(0x10, 0x200, 0x10), 0x2000 + d.step(0, 0x1000, 8), d.between(1, 250)
    source, target = 0x3000 + d.step(0, 0x1000, 0x40), d.step(0x4000, 0x8000, 0x80)
    return dumped(
        d, f"{label(d, 'copy', 'map')}: | rep #$30 | lda #{x4(size - 1)} | ldx #{x4(source)} | ldy #{x4(target)} | "
           f"mvn #$7E, #$7F | sep #$30"
        f" | lda #{x2(value)} | sta {x4(where)} | rts",
        f"DB on entry $7E\n{x6(0x7E0000 + where)} = 00, {x6(0x7F0000 + where)} = {value:02X}, DB = $7F",
        d.pick("mvn changed the data bank.", "DB is left at the destination bank of the block move."),
        "the store went to bank $7F, and DB reads $7F after the move, not $7E.",
        "save DB with `phb` before the move and restore it with `plb` after it.",
        Run(regs={"db": 0x7E}, end={"db": 0x7F}, out={0x7F0000 + where: value, 0x7E0000 + where: 0}),
    )  # fmt: skip


@cause
def loop_one_short(d: Dice) -> Case:
    base, count, value, at = low_ram(d), d.between(4, 16), d.between(1, 254), loop(d)
    dump = " ".join(["00"] + [f"{value:02X}"] * (count - 1))
    return dumped(
        d, f"{label(d, 'fill', d.pick('list', 'row'))}: | ldx #{count - 1} | lda #{x2(value)} | {at}: | sta "
           f"{x4(base)},x | dex | bne {at} | rts",
        f"{x4(base)}: {dump}",
        d.pick("the loop ends before index 0 is written.", "bne stops when X reaches 0, one pass early."),
        f"of {count} bytes only the first, at {x4(base)}, still holds 00.",
        "use `bpl` instead of `bne`.",
        Run(out={base: bytes([0]) + bytes([value]) * (count - 1)}),
    )  # fmt: skip


@cause
def loop_one_long(d: Dice) -> Case:
    base, count, value, at = low_ram(d), d.between(3, 12), d.between(1, 254), loop(d)
    after = d.pick(0x5A, 0x77, 0x21)
    if after == value:
        value ^= 1
    return dumped(
        d, f"{label(d, 'set', d.pick('slots', 'tiles'))}: | ldx #{count} | lda #{x2(value)} | {at}: | sta "
           f"{x4(base)},x | dex | bpl {at} | rts",
        f"expected: {count} bytes from {x4(base)}, and {x4(base + count)} = {after:02X}\nfound: {x4(base + count)} "
        f"= {value:02X}",
        d.pick("the loop writes one byte too many.", f"X starts at the count {count} instead of the last index."),
        f"X = {count} down to 0 is {count + 1} passes, so {x4(base + count)} is overwritten.",
        f"start with `ldx #{count - 1}`.",
        Run(mem={base + count: after}, out={base: bytes([value]) * (count + 1)}),
    )  # fmt: skip


@cause
def stray_carry(d: Dice) -> Case:
    where, start, amount = low_ram(d), d.between(1, 99), d.between(1, 99)
    return dumped(
        d, f"{label(d, 'add', d.pick('score', 'time'))}: | lda {x4(where)} | adc #{amount} | sta {x4(where)} | rts",
        f"{x4(where)} before: {start}, after: {start + amount + 1}\nflags on entry: C=1",
        d.pick("the carry was set when adc ran.", "an old carry is added to the sum."),
        f"{start} + {amount} is {start + amount}, but the result is one more, and C=1 on entry.",
        "put `clc` in front of the adc.",
        Run(regs={"c": 1}, mem={where: start}, out={where: start + amount + 1}),
    )  # fmt: skip


@cause
def stray_borrow(d: Dice) -> Case:
    where, amount = low_ram(d), d.between(1, 60)
    start = amount + d.between(5, 99)
    return dumped(
        d, f"{label(d, 'take', d.pick('health', 'ammo'))}: | lda {x4(where)} | sbc #{amount} | sta {x4(where)} | rts",
        f"{x4(where)} before: {start}, after: {start - amount - 1}\nflags on entry: C=0",
        d.pick("the carry was clear when sbc ran, which counts as a borrow.", "sbc subtracts one more if C is 0."),
        f"{start} - {amount} is {start - amount}; the dump shows one less, with C=0 on entry.",
        "put `sec` in front of the sbc.",
        Run(regs={"c": 0}, mem={where: start}, out={where: start - amount - 1}),
    )  # fmt: skip


@cause
def neighbour_overwritten(d: Dice) -> Case:
    where, value, old = low_ram(d), d.between(1, 255), d.between(1, 255)
    return dumped(
        d, f"{label(d, 'set', d.pick('state', 'flag'))}: | rep #$20 | lda #{x4(value)} | sta {x4(where)} | sep #$20 "
           f"| rts",
        f"before: {x4(where + 1)} = {old:02X}\nafter:  {x4(where)} = {value:02X}, {x4(where + 1)} = 00",
        d.pick("a 16-bit store was used for a byte variable.", "sta writes two bytes while M is clear."),
        f"{x4(where + 1)} lost its {old:02X}: the high byte of {x4(value)} went there.",
        f"store in 8-bit mode: `lda #{x2(value)}` and `sta {x4(where)}` without the rep.",
        Run(mem={where + 1: old}, out={where: bytes([value, 0])}),
    )  # fmt: skip


@cause
def decimal_left_on(d: Dice) -> Case:
    where, start = low_ram(d), d.between(1, 9)
    amount = d.between(10 - start, 9)
    total = start + amount
    return dumped(
        d, f"{label(d, 'count', d.pick('up', 'items'))}: | lda {x4(where)} | clc | adc #{amount} | sta {x4(where)} "
           f"| rts",
        f"{x4(where)} before: {x2(start)}, after: {x2(0x10 + total - 10)}\nflags on entry: D=1",
        d.pick("decimal mode is still on.", "a sed was never undone by cld."),
        f"{start} + {amount} should give {x2(total)}; {x2(0x10 + total - 10)} is the decimal result, and D=1 on entry.",
        "add `cld` where decimal mode ends, or at the start of this routine.",
        Run(regs={"dec": 1}, mem={where: start}, out={where: 0x10 + total - 10}),
    )  # fmt: skip


@cause
def direct_page_moved(d: Dice) -> Case:
    dp, page, value, other = (
        d.between(0x10, 0x7F),
        d.step(0x0300, 0x1E00, 0x100),
        d.between(1, 120),
        d.between(121, 250),
    )
    return dumped(
        d, f"{label(d, 'load', d.pick('mode', 'timer'))}: | lda {x2(dp)} | rts",
        f"${dp:04X} = {value:02X}, {x4(page + dp)} = {other:02X}\nD = {x4(page)}, A = {x2(other)}",
        d.pick("the direct page register does not point to $0000.", "D was changed and not restored."),
        f"A holds the byte of {x4(page + dp)}, which is D + {x2(dp)}, and not that of ${dp:04X}.",
        "restore D with `pld` where it was changed; or here: `phd`, `pea $0000`, `pld`, then `pld` at the end.",
        Run(regs={"d": page}, mem={dp: value, page + dp: other}, end={"a": other, "d": page}),
    )  # fmt: skip


@cause
def wrong_data_bank(d: Dice) -> Case:
    table, value, db = label(d, d.pick("speed", "tile"), "table"), d.between(1, 250), d.pick(0x7E, 0x7F)
    other = d.between(1, 250)
    other = other if other != value else other ^ 1
    return dumped(
        d, f"{label(d, 'get', d.pick('speed', 'tile'))}: | lda {table} | rtl | {table}: | .byte {x2(value)}",
        f"{table} = $8004 in bank $00\nDB = {x2(db)}, A = {x2(other)}, {x6(db << 16 | 0x8004)} = {other:02X}",
        d.pick("DB does not point to the bank of the table.",
        "an absolute load uses the data bank, and it is not the program bank."),
        f"the load read {x6(db << 16 | 0x8004)}, as DB is {x2(db)}; the table has {x2(value)}.",
        "wrap the routine in `phb`, `phk`, `plb` ... `plb`, or load with `f:" + table + "`.",
        Run(regs={"db": db}, mem={db << 16 | 0x8004: other}, end={"a": other, "db": db}),
    )  # fmt: skip


@cause
def signed_instead_of_unsigned(d: Dice) -> Case:
    where, limit = low_ram(d), d.between(2, 100)
    value = d.between(limit + 128, 255)
    return dumped(
        d, f"{label(d, 'cap', d.pick('value', 'speed'))}: | lda {x4(where)} | cmp #{limit} | bmi @ok | lda #{limit} "
           f"| @ok: | sta {x4(where)} | rts",
        f"{x4(where)} = {value} before and {value} after; the limit is {limit}",
        d.pick("bmi tests a sign, not an unsigned order.", "the wrong branch follows the cmp."),
        f"{value} - {limit} = {value - limit}, which has bit 7 set, so bmi is taken although {value} is larger.",
        "use `bcc @ok`.",
        Run(mem={where: value}, out={where: value}),
    )  # fmt: skip


@cause
def loop_counter_reused(d: Dice) -> Case:
    dp, count, amount, where = d.step(0, 14, 2), d.between(3, 9), d.between(2, 9), low_ram(d)
    outer, inner = label(d, "draw", "rows"), label(d, "draw", "one")
    return dumped(
        d, f"{outer}: | lda #{count} | sta {x2(dp)} | @row: | jsr {inner} | dec {x2(dp)} | bne @row | rts | "
           f"{inner}: | lda #{amount}"
        f" | sta {x2(dp)} | inc {x4(where)} | rts",
        f"the loop never ends; {x2(dp)} is {amount} after each call of {inner} and {amount - 1} after the dec",
        d.pick(f"{inner} destroys the loop counter.", "two routines share one scratch byte."),
        f"both use {x2(dp)}: {inner} stores {amount} there, so the dec never gets to 0.",
        f"let {inner} use {x2(dp + 1)}, or keep the counter on the stack.",
        Run(), crash="still running after 30000 instructions",
    )  # fmt: skip


@cause
def index_not_doubled(d: Dice) -> Case:
    values, where = [d.between(0x1001, 0xFFFE) for _ in range(4)], low_ram(d)
    k = d.pick(1, 3)
    data = b"".join(le(v) for v in values) + b"\x60"
    got = data[k] | data[k + 1] << 8
    table = label(d, "pointer", "list")
    code = (
        f"{label(d, 'get', 'pointer')}: | ldx {x4(where)} | rep #$20 | lda {table},x | sta $00 | sep #$20 | rts "
        f"| {table}: | .word {', '.join(map(x4, values))}"
    )
    return dumped(
        d, code, f"{x4(where)} = {k}\nword at $00: {x4(got)}, expected {x4(values[k])}",
        d.pick("the index counts words but is used as a byte offset.", "the index is not multiplied by two."),
        f"{x4(got)} is made of two neighbouring entries, bytes {k} and {k + 1} of the table.",
        "`lda` the index, `asl a`, `tax`, and read the table then.",
        Run(mem={where: k}, out={0: le(got)}),
    )  # fmt: skip
