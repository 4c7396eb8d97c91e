"""Faulty routines that misuse an instruction, an address or a hardware register."""

from ..dice import Dice
from ..emulate import VRAM, Run
from .bugs import patient
from .memory import far_ram, low_ram
from .row import Row, blanked, family, label, le, leave, loop, repair, x2, x4, x6


@family
def bug_mvn_length(d: Dice) -> Row:
    source, target, size = 0x2000 + d.step(0, 0x4000, 0x40), far_ram(d), d.between(16, 200)
    name, back = label(d, "move", "data"), leave(d)
    data = bytes((k * 3 + 5) & 255 for k in range(size))

    def code(length: int) -> str:
        return (
            f"{name}: | phb | rep #$30 | lda #{x4(length)} | ldx #{x4(source)} | ldy #{x4(target & 0xFFFF)} | mvn "
            f"#$7E, #$7F"
            f" | sep #$30 | plb | {back}"
        )

    return repair(
        d,
        [
            f"The block move of {size} bytes to {x6(target)} overwrites one byte behind the destination.",
            f"mvn should copy {size} bytes to {x6(target)} but copies {size + 1}.",
        ],
        code(size),
        code(size - 1),
        [f"mvn moves A + 1 bytes, so A has to be {size} - 1 = {x4(size - 1)}."],
        ["The count includes the byte that is moved when A is 0."],
        [Run(mem={0x7E0000 + source: data + b"\x77", target + size: 0x99}, out={target: data + b"\x99"})],
    )


@family
def bug_mvn_bank(d: Dice) -> Row:
    name, back, where = label(d, "copy", d.pick("map", "save")), leave(d), low_ram(d)
    source, size, value = 0x3000 + d.step(0, 0x2000, 0x20), d.between(8, 60), d.between(1, 200)
    mid = f"rep #$30 | lda #{x4(size - 1)} | ldx #{x4(source)} | ldy #{x4(source)} | mvn #$7E, #$7F | sep #$30"
    tail = f"lda #{value} | sta {x4(where + 0x2000)}"
    where_far = where + 0x2000
    return repair(
        d,
        [
            f"DB is $7E on entry, and {x4(where_far)} should be set in that bank; the {value} ends up elsewhere.",
            f"The store to {x4(where_far)} after the block move goes to the wrong bank (DB is $7E before).",
        ],
        f"{name}: | {mid} | {tail} | {back}",
        f"{name}: | phb | {mid} | plb | {tail} | {back}",
        ["mvn leaves the data bank at its destination bank, $7F, so the absolute store went there."],
        ["phb and plb around the move restore $7E."],
        [Run(regs={"db": 0x7E}, out={0x7E0000 + where_far: value})],
    )


@family
def bug_word_index(d: Dice) -> Row:
    name, back, where = patient(d)
    count = d.between(3, 6)
    values = [d.between(0x101, 0xFFFE) for _ in range(count)]
    table = f"@list: | .word {', '.join(map(x4, values))}"
    end = f"tax | rep #$20 | lda @list,x | sta $00 | sep #$20 | {back} | {table}"
    return repair(
        d,
        [
            f"Index {x4(where)} picks a word of the list, but odd indexes give mixed-up values.",
            f"The word table is read at the wrong places; only entry 0 is right (index at {x4(where)}).",
        ],
        f"{name}: | lda {x4(where)} | {end}",
        f"{name}: | lda {x4(where)} | asl a | {end}",
        ["Entries are two bytes, so the index must be doubled with asl before it goes to X."],
        ["Index 1 read the high byte of entry 0 and the low byte of entry 1."],
        [Run(mem={where: k}, out={0: le(v)}) for k, v in enumerate(values)],
    )


@family
def bug_signed_branch(d: Dice) -> Row:
    name, back, where = patient(d)
    limit = d.between(0x20, 0x70)
    cap = f"lda #{limit} | sta {x4(where)} | @ok: | {back}"
    return repair(
        d,
        [
            f"It should limit {x4(where)} to {limit}, but values from {limit + 128} on slip through.",
            f"Large unsigned values at {x4(where)} are not capped to {limit}.",
        ],
        f"{name}: | lda {x4(where)} | cmp #{limit} | bmi @ok | {cap}",
        f"{name}: | lda {x4(where)} | cmp #{limit} | bcc @ok | {cap}",
        ["bmi looks at the sign of the difference, which is also set for large values; bcc is the unsigned test."],
        ["After cmp the carry is clear exactly when A is below the operand."],
        [Run(mem={where: v}, out={where: min(v, limit)}) for v in (limit - 1, 255, 3)],
    )


@family
def bug_long_operand(d: Dice) -> Row:
    address = 0x7EF340 + d.between(0, 0x3F)
    op = d.pick("inc", "dec", "stz", "tsb", "trb", "ldx", "ldy")
    name, back, mask = label(d, "change", "save"), leave(d), 1 << d.between(0, 7)
    wrong = {"tsb": f"lda #{x2(mask)} | tsb {x6(address)}", "trb": f"lda #{x2(mask)} | trb {x6(address)}"}.get(
        op, f"{op} {x6(address)}"
    )
    right, start, out, end = {
        "inc": (f"lda {x6(address)} | inc a | sta {x6(address)}", 5, 6, {}),
        "dec": (f"lda {x6(address)} | dec a | sta {x6(address)}", 5, 4, {}),
        "stz": (f"lda #0 | sta {x6(address)}", 5, 0, {}),
        "tsb": (f"lda {x6(address)} | ora #{x2(mask)} | sta {x6(address)}", 0, mask, {}),
        "trb": (f"lda {x6(address)} | and #{x2(255 ^ mask)} | sta {x6(address)}", 255, 255 ^ mask, {}),
        "ldx": (f"lda {x6(address)} | tax", 5, 5, {"x": 5}),
        "ldy": (f"lda {x6(address)} | tay", 5, 5, {"y": 5}),
    }[op]
    return repair(
        d,
        [
            f"ca65 refuses the {op} of {x6(address)} in this routine.",
            f"The assembler reports an error at the {op} line ({x6(address)}).",
        ],
        f"{name}: | {wrong} | {back}",
        f"{name}: | {right} | {back}",
        [f"{op} has no absolute long form, so a 24-bit operand cannot be encoded; the accumulator does the work."],
        ["lda, sta, adc, sbc, and, ora, eor and cmp are the instructions with long addressing."],
        [Run(mem={address: start}, out={address: out}, end=end)],
        refused=True,
    )


@family
def bug_missing_hash(d: Dice) -> Row:
    name, back, where = patient(d)
    value = d.between(0x10, 0xF0)
    op = d.pick("lda", "cmp", "and")
    if op == "lda":
        bad, good = f"lda {x2(value)} | sta {x4(where)}", f"lda #{x2(value)} | sta {x4(where)}"
        runs, goal = [Run(mem={value: 3}, out={where: value})], f"store the number {x2(value)} at {x4(where)}"
    elif op == "cmp":
        bad, good = (f"lda {x4(where)} | cmp {h}{x2(value)} | bne @no | inc {x4(where + 1)} | @no:" for h in ("", "#"))
        runs, goal = (
            [Run(mem={where: value, value: 3}, out={where + 1: 1})],
            f"count at {x4(where + 1)} when {x4(where)} is {x2(value)}",
        )
    else:
        bad, good = (f"lda {x4(where)} | and {h}{x2(value)} | sta {x4(where)}" for h in ("", "#"))
        runs, goal = [Run(mem={where: 255, value: 0}, out={where: value})], f"mask {x4(where)} with {x2(value)}"
    return repair(
        d,
        [f"This should {goal}, but the result looks random.", f"Meant to {goal}; it does not."],
        f"{name}: | {bad} | {back}",
        f"{name}: | {good} | {back}",
        [f"Without # the operand is an address, so {op} read the memory byte at {x2(value)} instead of the number."],
        ["Both forms assemble, so there is no error message."],
        runs,
    )


@family
def bug_vram_mode(d: Dice) -> Row:
    word, value = d.step(0x1000, 0x6000, 0x20), d.between(0x101, 0xFFFF)
    name, back, count = label(d, "draw", "words"), leave(d), d.between(3, 20)
    end = (
        f"rep #$20 | lda #{x4(word)} | sta $2116 | lda #{x4(value)} | ldx #{count} | @put: | sta $2118 | dex | "
        f"bne @put | sep #$20 | {back}"
    )
    return blanked(
        d,
        repair(
            d,
            [
                f"{count} words {x4(value)} from VRAM {x4(word)} on should be equal, but low and high bytes land in "
                f"different words.",
                f"16-bit writes of {x4(value)} to VRAM {x4(word)} come out shifted against each other.",
            ],
            f"{name}: | stz $2115 | {end}",
            f"{name}: | lda #$80 | sta $2115 | {end}",
            [
                "With 0 in $2115 the address advances after $2118, before the high byte is written; $80 makes it wait "
                "for $2119."
            ],
            ["A 16-bit sta writes $2118 first and $2119 second."],
            [Run(out={VRAM + 2 * word: le(value) * count})],
        ),
    )


@family
def bug_multiply_wait(d: Dice) -> Row:
    name, back, where = patient(d)
    factor = d.between(3, 250)
    head = f"lda {x4(where)} | sta $4202 | lda #{factor} | sta $4203"
    tail = f"sta {x4(where + 2)} | {back}"
    return repair(
        d,
        [
            f"{x4(where + 2)} should get the low byte of {x4(where)} * {factor}, but it is wrong.",
            f"The product of {x4(where)} and {factor} is read as garbage.",
        ],
        f"{name}: | {head} | lda $4216 | {tail}",
        f"{name}: | {head} | nop | nop | nop | lda $4216 | {tail}",
        ["The multiplier needs 8 cycles after the write to $4203; the immediate read came too soon."],
        ["Three nops and the fetch of lda cover the wait."],
        [Run(mem={where: 7}, out={where + 2: 7 * factor & 255})],
    )


@family
def bug_dp_scratch(d: Dice) -> Row:
    outer, inner, where = label(d, "outer", "loop"), label(d, "inner", "work"), low_ram(d)
    count, amount = d.between(3, 9), d.between(2, 9)
    spot = d.step(0, 14, 2)
    other = spot + 1
    loop_at = loop(d)

    def code(scratch: int) -> str:
        return (
            f"{outer}: | lda #{count} | sta {x2(spot)} | {loop_at}: | jsr {inner} | dec {x2(spot)} | bne {loop_at} "
            f"| rts"
            f" | {inner}: | lda #{amount} | sta {x2(scratch)} | clc | adc {x4(where)} | sta {x4(where)} | rts"
        )

    return repair(
        d,
        [
            f"{inner} should run {count} times, adding {amount} to {x4(where)} each time, but the loop never ends.",
            f"Endless loop: {outer} calls {inner} {count} times in theory.",
        ],
        code(spot),
        code(other),
        [f"Both routines used {x2(spot)}: {inner} reset the loop counter to {amount} every time."],
        [f"{inner} takes {x2(other)} now, so the counter at {x2(spot)} survives."],
        [Run(out={where: count * amount})],
    )
