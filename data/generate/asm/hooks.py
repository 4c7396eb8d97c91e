"""Hooks into the game, wrappers across banks, tail calls and tests of single bits."""

from ..dice import Dice
from ..emulate import Run
from .memory import low_ram
from .row import Row, family, label, leave, routine, x2, x4, x6


@family
def long_wrapper(d: Dice) -> Row:
    inner, value, target = label(d, "inner", d.pick("work", "step")), d.between(1, 250), low_ram(d)
    name = label(d, "far", d.pick("entry", "wrapper"))
    arg = d.chance(0.5)
    body = f"sta {x4(target)}" if arg else f"lda #{value} | sta {x4(target)}"
    return routine(
        d,
        [
            f"{inner} ends with rts ({'stores A' if arg else f'writes {value}'} at {x4(target)}). Make it callable "
            f"by jsl from other banks.",
            f"Give the rts routine {inner} a long entry point {name}; {inner} "
            f"{'stores A' if arg else f'writes {value}'} to {x4(target)}.",
        ],
        f"{name}: | phb | phk | plb | jsr {inner} | plb | rtl | {inner}: | {body} | rts",
        ["The wrapper is in the same bank as the routine, so jsr works there, and rtl answers the jsl."],
        [
            "phk and plb make the data bank match the code during the call.",
            "A jsl to an rts routine would leave one byte on the stack.",
        ],
        [Run(regs={"a": value, "db": 0x00}, out={target: value})],
    )


@family
def hook_routine(d: Dice) -> Row:
    address = d.pick(0x0F, 0x0E, 0xB4, 0x02)
    old_value, flag = d.between(1, 100), low_ram(d)
    name, width = label(d, "hook", d.pick("main", "body", "code")), d.pick(4, 5)
    old = f"lda #{old_value} | sta {x2(address)}" if width == 4 else f"lda {x4(flag + 2)} | sta {x2(address)}"
    pad = width - 4
    extra = f" and {pad} nop" if pad else ""
    mem = {flag: 3} if width == 4 else {flag: 3, flag + 2: old_value}
    lines = old.replace(" | ", " / ")
    return routine(
        d,
        [
            f"I replace `{lines}` ({width} bytes) by jsl{extra}. Write the hooked routine: do the old work, then "
            f"increment {x4(flag)}.",
            f"Write {name} for a jsl hook over `{lines}`; it must repeat those instructions and count calls in "
            f"{x4(flag)}.",
        ],
        f"{name}: | {old} | inc {x4(flag)} | rtl",
        [
            "A jsl takes 4 bytes, so "
            + (f"it fits the {width} bytes exactly." if not pad else f"one nop fills the {width} bytes.")
        ],
        [
            "The overwritten instructions run first, so the game sees the same values as before.",
            "rtl matches jsl, and A ends as the old code left it, since inc works on memory.",
        ],
        [Run(mem=mem, out={flag: 4, address: old_value}, end={"a": old_value})],
    )


@family
def hook_jml(d: Dice) -> Row:
    back = 0x008000 + d.step(0x2000, 0x7000, 4) + (d.between(1, 0x1F) << 16)
    flag, limit = low_ram(d), d.between(2, 60)
    other = back + d.pick(0x10, 0x24, 0x38)
    name = label(d, "detour", d.pick("check", "test"))
    return routine(
        d,
        [
            f"A jml hook should continue at {x6(back)} if {x4(flag)} < {limit} and at {x6(other)} otherwise.",
            f"Write {name}, entered by jml: two exits, {x6(back)} for {x4(flag)} below {limit}, else {x6(other)}.",
        ],
        f"{name}: | lda {x4(flag)} | cmp #{limit} | bcs @other | jml {x6(back)} | @other: | jml {x6(other)}",
        ["jml pushes nothing, so the detour leaves with jml as well and can choose where to go on."],
        ["rtl would pull an address that nobody pushed.", "A is changed, so the code at the exits must not need it."],
        [Run(mem={flag: limit - 1}, stop=back), Run(mem={flag: limit}, stop=other)],
    )


@family
def bit_flags_memory(d: Dice) -> Row:
    where, mask = low_ram(d), d.between(1, 255)
    op = d.pick("tsb", "trb")
    name, back = label(d, "set" if op == "tsb" else "clear", "bits"), leave(d)
    start = d.between(0, 255)
    after = start | mask if op == "tsb" else start & ~mask
    return routine(
        d,
        [
            f"{'Set' if op == 'tsb' else 'Clear'} the bits {x2(mask)} at {x4(where)} with one memory instruction.",
            f"Use {op} to {'set' if op == 'tsb' else 'clear'} {x2(mask)} in {x4(where)}.",
        ],
        f"{name}: | lda #{x2(mask)} | {op} {x4(where)} | {back}",
        [f"{op} changes the memory byte directly; A holds the mask and is not altered."],
        ["Z tells whether any masked bit was set before.", "tsb and trb know direct page and absolute addresses only."],
        [Run(mem={where: start}, out={where: after}, end={"a": mask, "z": int(not start & mask)})],
    )


@family
def bit_sign_test(d: Dice) -> Row:
    where, bit = low_ram(d), d.pick(7, 6)
    one, two, target = d.between(1, 120), d.between(121, 250), 0x1A00 + d.step(0, 0x80, 2)
    name, back = label(d, "test", f"bit{bit}"), leave(d)
    branch = "bmi" if bit == 7 else "bvs"
    return routine(
        d,
        [
            f"Store {two} at {x4(target)} if bit {bit} of {x4(where)} is set, else {one}, without loading "
            f"{x4(where)} into A.",
            f"Write {name} with bit: {x4(target)} = {two} when bit {bit} of {x4(where)} is 1, otherwise {one}.",
        ],
        f"{name}: | ldx #{two} | bit {x4(where)} | {branch} @set | ldx #{one} | @set: | stx {x4(target)} | {back}",
        [f"bit copies bit {bit} of memory to {'N' if bit == 7 else 'V'}, so {branch} tests it whatever A holds."],
        ["bit with an immediate operand would change Z only.", "A survives, because X carries the value."],
        [
            Run(mem={where: 1 << bit}, out={target: two}),
            Run(mem={where: 0xFF ^ 1 << bit}, out={target: one}),
        ],
    )


@family
def tail_call(d: Dice) -> Row:
    first, second = low_ram(d), 0x1A00 + d.step(0, 0x80, 2)
    one, two = d.between(1, 250), d.between(1, 250)
    name, other = label(d, "first", "part"), label(d, "last", "part")
    return routine(
        d,
        [
            f"{name} writes {one} to {x4(first)} and then ends with a call of {other} ({two} to {x4(second)}). Save "
            f"the jsr/rts pair.",
            f"Show a tail call: {name} ({x4(first)} = {one}) continues in {other} ({x4(second)} = {two}).",
        ],
        f"{name}: | lda #{one} | sta {x4(first)} | jmp {other} | {other}: | lda #{two} | sta {x4(second)} | rts",
        [f"jmp leaves no return address, so the rts of {other} returns to the caller of {name}."],
        ["It saves one byte of code and two bytes of stack.", "jsr followed by rts would do the same, only slower."],
        [Run(out={first: one, second: two})],
    )
