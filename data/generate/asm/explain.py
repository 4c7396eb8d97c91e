"""Rows that explain a routine, predict its result, or turn 6502 code into 65816 code."""

from collections.abc import Sequence

from ..dice import Dice
from ..emulate import Run
from .memory import far_ram, low_ram
from .row import Row, asm, family, label, le, leave, loop, say, x2, x4, x6


def explained(d: Dice, code: str, always: Sequence[str], maybe: Sequence[str] = (), runs: Sequence[Run] = ()) -> Row:
    """A row with code in its input and an explanation as its answer."""
    body = asm(code)
    name = body.split(":", 1)[0]
    ask = d.pick(
        f"What does {name} do?", f"Explain {name}.", "Explain this routine.", f"Describe the effect of {name}.",
        "What happens here?", "Summarise this code for a comment.", f"I found {name} in a hack. What is it for?",
        "Walk me through this routine.",
    )  # fmt: skip
    return Row(
        instruction=ask, input=body, output=" ".join(say(d, always, maybe, least=1)), code=body, runs=tuple(runs)
    )


def _sub(d: Dice) -> str:
    return label(d, d.pick("sub", "func", "proc", "code"), f"{d.between(0x8000, 0xFFFF):x}")


@family
def explain_copy(d: Dice) -> Row:
    source, target, count, at, back = low_ram(d), far_ram(d), d.step(4, 120, 2), loop(d), leave(d)
    data = bytes((k * 7 + 1) & 255 for k in range(count))
    return explained(
        d,
        f"{_sub(d)}: | rep #$20 | ldx #{x2(count - 2)} | {at}: | lda {x4(source)},x | sta {x6(target)},x | dex | "
        f"dex | bpl {at}"
        f" | sep #$20 | {back}",
        [f"It copies {count} bytes from {x4(source)} to {x6(target)}, one 16-bit word per pass ({count // 2} passes)."],
        [
            f"X starts at {count - 2}, the offset of the last word, and counts down by two until it is negative.",
            "A is 16 bits wide inside the loop and 8 bits again on return.",
            "The destination is a long address, so only the source depends on the data bank.",
        ],
        [Run(mem={source: data}, out={target: data})],
    )


@family
def explain_clamped_counter(d: Dice) -> Row:
    where, limit, low = low_ram(d), d.between(5, 200), d.between(0, 3)
    return explained(
        d,
        f"{_sub(d)}: | lda {x4(where)} | inc a | cmp #{x2(limit)} | bcc @a | lda #{x2(low)} | @a: | sta {x4(where)} "
        f"| {leave(d)}",
        [f"It increments {x4(where)}; when the result reaches {limit} ({x2(limit)}), it starts over at {low}."],
        [
            f"bcc keeps results below {limit}, compared as unsigned bytes.",
            f"So the counter runs from {low} to {limit - 1}.",
            "A holds the new value on return.",
        ],
        [Run(mem={where: limit - 1}, out={where: low}), Run(mem={where: low}, out={where: low + 1})],
    )


@family
def explain_rupee_compare(d: Dice) -> Row:
    price, back = d.between(10, 600), leave(d)
    return explained(
        d,
        f"{_sub(d)}: | rep #$20 | lda $7EF360 | cmp #{x4(price)} | sep #$20 | {back}",
        [f"It compares the rupee count with {price} and returns the answer in the carry: set for {price} or more."],
        [
            "$7EF360 is a 16-bit count, so the compare runs with a 16-bit accumulator.",
            "sep #$20 does not touch the carry.",
            "No memory is changed.",
        ],
        [
            Run(mem={0x7EF360: le(price)}, end={"c": 1}),
            Run(mem={0x7EF360: le(price - 1)}, end={"c": 0}),
        ],
    )


@family
def explain_bit_count(d: Dice) -> Row:
    where, back, reg = low_ram(d), leave(d), d.pick("x", "y")
    start = d.between(0, 255)
    return explained(
        d,
        f"{_sub(d)}: | ld{reg} #0 | lda {x4(where)} | @a: | beq @b | asl a | bcc @a | in{reg} | cmp #0 | bra @a | "
        f"@b: | {back}",
        [f"It counts the set bits of the byte at {x4(where)} and returns the number in {reg.upper()}."],
        [
            "Each asl moves the top bit to the carry, and the loop ends when nothing is left in A.",
            f"cmp #0 sets Z from A again, because in{reg} changed the flags.",
            "Memory is not changed; A ends as 0.",
        ],
        [Run(mem={where: v}, end={reg: v.bit_count(), "a": 0}) for v in (start, 0, 255)],
    )


@family
def explain_stack_bank(d: Dice) -> Row:
    bank, where = d.pick(0x7E, 0x7F), 0x2000 + d.step(0, 0x6000, 0x10)
    return explained(
        d,
        f"{_sub(d)}: | phb | lda #{x2(bank)} | pha | plb | stz {x4(where)} | stz {x4(where + 1)} | plb | rtl",
        [f"It zeroes the two bytes at {x6(bank << 16 | where)} and {x6(bank << 16 | where + 1)}."],
        [
            f"pha and plb set the data bank to {x2(bank)} for the two absolute stores.",
            "The first phb and the last plb keep the caller's data bank.",
            "stz has no long form, which is why the bank is switched.",
            "It must be called with jsl, because it ends with rtl.",
        ],
        [Run(mem={bank << 16 | where: b"\x11\x22\x33"}, out={bank << 16 | where: b"\x00\x00\x33"})],
    )


@family
def explain_max_loop(d: Dice) -> Row:
    base, count, back, at = low_ram(d), d.between(4, 100), leave(d), loop(d)
    data = bytes((k * 37 + 11) & 255 for k in range(count))
    least = d.chance(0.5)
    branch = "bcc" if least else "bcs"
    best = min(data) if least else max(data)
    return explained(
        d,
        f"{_sub(d)}: | ldx #{x2(count - 1)} | lda {x4(base)} | {at}: | cmp {x4(base)},x | {branch} @k | lda "
        f"{x4(base)},x | @k: | dex"
        f" | bne {at} | {back}",
        [
            f"It returns the {'smallest' if least else 'largest'} unsigned byte among {count} bytes from {x4(base)} "
            f"on, in A."
        ],
        [
            f"A candidate replaces A only when it is {'not larger' if least else 'larger'} than A.",
            "Byte 0 is loaded before the loop, so the loop may stop when X is 0.",
            f"The list ends at {x4(base + count - 1)}.",
        ],
        [Run(mem={base: data}, end={"a": best})],
    )


@family
def predict_accumulator(d: Dice) -> Row:
    value, steps, trail = d.between(1, 255), [], []
    carry, a = 0, value
    for _ in range(d.between(2, 4)):
        kind, n = d.pick("asl", "lsr", "and", "ora", "eor", "add"), d.between(1, 255)
        if kind == "asl":
            carry, a = a >> 7, a << 1 & 255
            steps.append("asl a")
        elif kind == "lsr":
            carry, a = a & 1, a >> 1
            steps.append("lsr a")
        elif kind == "add":
            total = a + n
            carry, a = total >> 8, total & 255
            steps.append(f"clc | adc #{x2(n)}")
        else:
            a = {"and": a & n, "ora": a | n, "eor": a ^ n}[kind]
            steps.append(f"{kind} #{x2(n)}")
        trail.append(f"{steps[-1].split(' | ')[-1]} gives {x2(a)}")
    body = asm(f"{_sub(d)}: | clc | lda #{x2(value)} | {' | '.join(steps)} | {leave(d)}")
    ask = d.pick("Which value is in A at the end, and is the carry set?", "Predict A and the carry on return.",
                 "What do A and C hold when this returns (8-bit A)?", "Trace A through this code.")  # fmt: skip
    return Row(
        instruction=ask,
        input=body,
        output=f"A starts as {x2(value)}; {'; '.join(trail)}. On return A is {x2(a)} and the carry is "
        f"{'set' if carry else 'clear'}.",
        code=body,
        runs=(Run(end={"a": a, "c": carry}),),
    )


@family
def predict_loop(d: Dice) -> Row:
    start, step, limit = d.between(0, 20), d.between(1, 9), d.between(30, 200)
    passes, x = 0, start
    while True:
        x, passes = x + step, passes + 1
        if x >= limit:
            break
    add = " | ".join(["inx"] * step) if step < 4 else f"txa | clc | adc #{step} | tax"
    body = asm(f"{_sub(d)}: | ldy #0 | ldx #{start} | @a: | iny | {add} | cpx #{limit} | bcc @a | {leave(d)}")
    return Row(
        instruction=d.pick("How many passes does this loop make, and what is X afterwards?",
                           "What do X and Y hold when the loop is over?", "Count the iterations of this loop."),
        input=body,
        output=f"X grows by {step} from {start} and the loop goes on while X is below {limit}. It makes {passes} "
        f"pass{'es' * (passes > 1)}: Y is {passes} and X ends as {x}.",
        code=body,
        runs=(Run(end={"x": x, "y": passes}),),
    )  # fmt: skip
