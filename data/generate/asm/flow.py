"""Register saving, calls across banks, the stack, the direct page, hooks and bit tests."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, le, leave, loop, routine, x2, x4, x6


@family
def keep_registers(d: Dice) -> Row:
    regs = d.pick("axy", "ax", "ay", "xy")
    flag, value, back = low_ram(d), d.between(1, 250), leave(d)
    name = label(d, d.pick("safe", "quiet"), d.pick("mark", "write"))
    push = " | ".join(f"ph{r}" for r in regs)
    pull = " | ".join(f"pl{r}" for r in reversed(regs))
    work = f"lda #{value} | sta {x4(flag)}" if "a" in regs else f"ldx #{value} | stx {x4(flag)} | ldy #0"
    names = " and ".join([", ".join(regs[:-1]).upper(), regs[-1].upper()])
    return routine(
        d,
        [
            f"Write {value} to {x4(flag)} and preserve {names} whatever their width is, and the flags too.",
            f"Write {name}: {x4(flag)} = {value}, all of P, {names} unchanged for the caller, any M/X on entry.",
        ],
        f"{name}: | php | rep #$30 | {push} | sep #$30 | {work} | rep #$30 | {pull} | plp | {back}",
        ["The registers are pushed and pulled at 16 bits, so nothing is lost, and plp brings back the old widths."],
        ["Pulls come in the reverse order of the pushes.", "sep #$30 in the middle makes the work 8-bit."],
        [
            Run(
                regs={"a": 0x1234, "x": 0x4567, "y": 0x89AB, "m": 0, "i": 0, "c": 1},
                out={flag: value},
                end={r: {"a": 0x1234, "x": 0x4567, "y": 0x89AB}[r] for r in regs} | {"c": 1},
            ),
            Run(regs={"x": 0x12, "c": 0}, out={flag: value}, end={"c": 0}),
        ],
    )


@family
def data_bank(d: Dice) -> Row:
    how = d.pick("phk", "pea", "lda")
    target, count = low_ram(d), d.between(2, 5)
    values = [d.between(0, 255) for _ in range(count)]
    index, name = d.between(0, count - 1), label(d, "local", d.pick("data", "table", "read"))
    bank = {"phk": "phk | plb", "pea": "pea $7E7E | plb | plb", "lda": "lda #$7E | pha | plb"}[how]
    if how == "phk":
        code = (
            f"{name}: | phb | phk | plb | lda @data+{index} | sta {x6(0x7E0000 + target)} | plb | rtl | @data: | .byte "
            + ", ".join(map(x2, values))
        )
        ask = [
            f"A jsl routine must read byte {index} of its own table ({', '.join(map(x2, values))}) into "
            f"{x6(0x7E0000 + target)}; set DB properly.",
            f"Write {name} (rtl): make DB the program bank, load entry {index} of {', '.join(map(x2, values))}, "
            f"store it at {x6(0x7E0000 + target)}, restore DB.",
        ]
        must = ["phk and plb copy the program bank to the data bank, so absolute loads reach the table."]
        run = Run(regs={"db": 0x7F}, out={target: values[index]})
    else:
        far = 0x2000 + d.step(0, 0x8000, 0x10)
        code = f"{name}: | phb | {bank} | lda {x4(far)} | inc a | sta {x4(far + 1)} | plb | rtl"
        ask = [
            f"Set the data bank to $7E with {'pea' if how == 'pea' else 'pha'}, then store ({x4(far)}) + 1 at "
            f"{x4(far + 1)} and restore it.",
            f"Write {name}: DB = $7E by way of {how}, then {x4(far + 1)} = {x4(far)} + 1 with absolute addressing.",
        ]
        must = [
            "pea pushes two bytes, so two plb instructions empty the stack again."
            if how == "pea"
            else "plb pulls the 8-bit A that was pushed, which must be one byte wide."
        ]
        run = Run(mem={0x7E0000 + far: 0x41}, out={0x7E0000 + far + 1: 0x42})
    return routine(
        d,
        ask,
        code,
        must,
        [
            "phb at the start and plb at the end give the caller its own data bank back.",
            "jsl changes the program bank only.",
        ],
        [run],
    )


@family
def direct_page_move(d: Dice) -> Row:
    page, offset, value = d.step(0x0300, 0x1E00, 0x100), d.between(0, 60), d.between(1, 250)
    io = d.chance(0.4)
    if io:
        page, offset = 0x2100, d.pick(0x06, 0x0B, 0x2C, 0x2D, 0x30, 0x31)
    name, back = label(d, "fast", d.pick("page", "access")), leave(d)
    return routine(
        d,
        [
            f"Point the direct page at {x4(page)}, store {value} at {x4(page + offset)} with a direct store, and "
            f"restore D.",
            f"Write {name}: use D = {x4(page)} so that sta {x2(offset)} hits {x4(page + offset)} (value {value}).",
        ],
        f"{name}: | phd | pea {x4(page)} | pld | lda #{value} | sta {x2(offset)} | pld | {back}",
        [f"pea and pld load D with {x4(page)}; the final pld restores what phd saved."],
        [
            "A direct-page access is one byte shorter than an absolute one.",
            "The low byte of D is 0, so no extra cycle is lost." if page % 256 == 0 else "",
        ][: 1 + (page % 256 == 0)],
        [Run(out={page + offset: value}, regs={"d": 0})],
    )


@family
def stack_argument(d: Dice) -> Row:
    target, long_call = low_ram(d), d.chance(0.5)
    name, offset = label(d, "take", d.pick("argument", "parameter")), 4 if long_call else 3
    back = "rtl" if long_call else "rts"
    call = "jsl" if long_call else "jsr"
    value = d.between(1, 250)
    return routine(
        d,
        [
            f"The caller pushes one byte and does {call}. Read the byte in the callee and store it at {x4(target)}; "
            f"the caller pops it. Show both sides with the value {value}.",
            f"Pass the byte {value} on the stack to an {back} routine that copies it to {x4(target)}; show the call "
            f"as well.",
        ],
        f"{label(d, 'caller')}: | lda #{value} | pha | {call} {name} | pla | rts | {name}: | lda {offset},s | sta "
        f"{x4(target)} | {back}",
        [f"After {call} the return address takes {offset - 1} bytes, so the argument is at {offset},s."],
        ["The pla after the call removes the argument.", "Offset 1,s is the byte that was pushed last."],
        [Run(out={target: value})],
    )


@family
def stack_locals(d: Dice) -> Row:
    size = d.step(4, 16, 2)
    name, back, slot = label(d, "with", "locals"), leave(d), d.step(1, size - 1, 2)
    first, second, target = d.between(1, 500), d.between(1, 500), low_ram(d)
    return routine(
        d,
        [
            f"Reserve {size} bytes of locals on the stack, keep {first} in the word at {slot},s, add {second} to it "
            f"and store the sum at {x4(target)}.",
            f"Write {name}: a {size}-byte stack frame; local word {slot},s = {first}; {x4(target)} = local + {second}.",
        ],
        f"{name}: | rep #$20 | tsc | sec | sbc #{size} | tcs | lda #{first} | sta {slot},s | clc | adc #{second} | "
        f"sta {x4(target)}"
        f" | tsc | clc | adc #{size} | tcs | sep #$20 | {back}",
        [f"Lowering S by {size} makes the bytes 1,s to {size},s private; adding {size} frees them."],
        ["tsc and tcs always move 16 bits.", "An interrupt pushes below the frame, so the locals are safe."],
        [Run(out={target: le(first + second)})],
    )


@family
def nested_loops(d: Dice) -> Row:
    rows, columns, base, value = d.between(2, 8), d.between(2, 16), low_ram(d), d.between(1, 250)
    pitch = d.pick(32, 16)
    columns = min(columns, pitch - 1)
    rows = min(rows, 256 // pitch)
    name, back = label(d, "fill", d.pick("rect", "box")), leave(d)
    skip = pitch - columns
    out = {base + pitch * r: bytes([value]) * columns + b"\x00" * skip for r in range(rows)}
    return routine(
        d,
        [
            f"Fill a {columns} x {rows} rectangle with {x2(value)} in a byte map at {x4(base)} that is {pitch} "
            f"bytes wide.",
            f"Write {name}: {rows} rows of {columns} bytes {x2(value)}, row pitch {pitch}, top left at {x4(base)}.",
        ],
        f"{name}: | ldx #0 | lda #{rows} | sta $00 | @row: | ldy #{columns} | lda #{x2(value)} | @cell: | sta "
        f"{x4(base)},x | inx | dey"
        f" | bne @cell | txa | clc | adc #{skip} | tax | dec $00 | bne @row | {back}",
        [f"After each row X skips {skip} bytes, so that the next row starts {pitch} later."],
        ["$00 counts rows, Y counts columns.", f"The area fits 256 bytes, so an 8-bit X is enough ({rows} x {pitch})."],
        [Run(out=out)],
    )


@family
def sixteen_bit_loop(d: Dice) -> Row:
    size, value = d.step(0x110, 0x900, 0x10), d.between(0, 255)
    base = 0x7F0000 + d.step(0x2000, 0x9000, 0x100)
    name, back, at = label(d, "fill", d.pick("big", "large")), leave(d), loop(d)
    return routine(
        d,
        [
            f"Fill {size} bytes at {x6(base)} with {x2(value)}; more than 256, so mind the index width.",
            f"Write {name}: byte fill, {x4(size)} bytes from {x6(base)}, value {x2(value)}, 8-bit A and 16-bit X.",
        ],
        f"{name}: | rep #$10 | ldx #{x4(size - 1)} | lda #{x2(value)} | {at}: | sta {x6(base)},x | dex | bpl {at} | "
        f"sep #$10 | {back}",
        [f"rep #$10 widens X alone, so each store still writes one byte while X counts from {x4(size - 1)}."],
        ["bpl works, because the start is below $8000.", "sep #$10 clears the high byte of X and Y."],
        [Run(mem={base: b"\x11" * (size + 1)}, out={base: bytes([value]) * size + b"\x11"})],
    )


@family
def width_safe_library(d: Dice) -> Row:
    where, amount = low_ram(d), d.between(2, 500)
    name, back = label(d, "bump", d.pick("word", "total")), leave(d)
    return routine(
        d,
        [
            f"Add {amount} to the word at {x4(where)} from a routine that may be called with any M and X.",
            f"Write {name}: 16-bit {x4(where)} += {amount}; the caller's processor status must survive.",
        ],
        f"{name}: | php | rep #$20 | lda {x4(where)} | clc | adc #{amount} | sta {x4(where)} | plp | {back}",
        ["php saves M, X and the other flags, and plp restores all of them at once."],
        [
            "The assembler cannot follow plp; state .a8 or .a16 again if code comes after it.",
            "A itself is not preserved.",
        ],
        [
            Run(mem={where: le(1000)}, out={where: le(1000 + amount)}),
            Run(regs={"m": 0, "i": 0, "c": 1}, mem={where: le(7)}, out={where: le(7 + amount)}, end={"c": 1}),
        ],
    )
