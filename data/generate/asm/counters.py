"""Rupees, hearts, magic, keys and ammunition: the counters of the save data in bank $7E."""

from ..dice import Dice
from ..emulate import Run
from .row import Row, family, label, le, leave, routine, x6

BYTES = (
    (0x7EF343, "bombs", 50),
    (0x7EF36E, "magic", 0x80),
    (0x7EF36F, "small keys", 9),
    (0x7EF377, "arrows", 70),
)
RUPEES, MAX_HEALTH, HEALTH = 0x7EF360, 0x7EF36C, 0x7EF36D


@family
def rupees_add(d: Dice) -> Row:
    amount, cap = d.pick(1, 5, 20, 50, 100, 300, d.between(2, 250)), d.pick(999, 999, 500, 9999)
    name, back = label(d, "add", "rupees"), leave(d)
    return routine(
        d,
        [
            f"Give Link {amount} rupees but never more than {cap} in total.",
            f"Add {amount} to the 16-bit rupee count at $7EF360, capped at {cap}.",
            f"Write {name}: rupees += {amount}, limit {cap}.",
        ],
        f"Rupees = $7EF360 | {name}: | rep #$20 | lda Rupees | clc | adc #{amount} | cmp #{cap + 1} | bcc @fits"
        f" | lda #{cap} | @fits: | sta Rupees | sep #$20 | {back}",
        [f"bcc keeps the sum when it is below {cap + 1}; otherwise {cap} replaces it."],
        [
            "The count takes two bytes, so the arithmetic runs in 16-bit mode.",
            "$7EF360 is the true count; the number on screen at $7EF362 catches up on its own.",
            "clc is needed because adc always adds the carry flag.",
        ],
        [
            Run(mem={RUPEES: le(0)}, out={RUPEES: le(min(amount, cap))}),
            Run(mem={RUPEES: le(cap - 1)}, out={RUPEES: le(cap if amount else cap - 1)}),
        ],
    )


@family
def rupees_spend(d: Dice) -> Row:
    price, name, back = (
        d.pick(10, 30, 50, 120, 500, d.between(11, 400)),
        label(d, "buy", d.pick("item", "shield", "potion")),
        leave(d),
    )
    return routine(
        d,
        [
            f"Charge {price} rupees. Carry set when Link could pay, clear (and nothing taken) when not.",
            f"Write {name} for a shop: take {price} rupees if there are enough and report the result in the carry.",
            f"A shop item costs {price}. Check $7EF360, subtract the price, return carry as success flag.",
        ],
        f"{name}: | rep #$20 | lda $7EF360 | sec | sbc #{price} | bcc @poor | sta $7EF360 | @poor: | sep #$20 | {back}",
        [
            "sbc clears the carry when it has to borrow, so bcc skips the store if there is too little money.",
            "sep #$20 changes only M, so the carry reaches the caller.",
        ],
        ["The subtraction is the comparison as well, so no cmp is needed."],
        [
            Run(mem={RUPEES: le(price + 7)}, out={RUPEES: le(7)}, end={"c": 1}),
            Run(mem={RUPEES: le(price - 1)}, out={RUPEES: le(price - 1)}, end={"c": 0}),
        ],
    )


@family
def heal(d: Dice) -> Row:
    hearts = d.between(1, 6)
    name, back = label(d, "heal", d.pick("link", "player", "hearts")), leave(d)
    amount = 8 * hearts
    return routine(
        d,
        [
            f"Heal Link by {hearts} heart{'s' * (hearts > 1)} without passing his maximum.",
            f"Add {amount} to the current health at $7EF36D, clamped to $7EF36C.",
            f"Write {name}: restore {hearts} full heart{'s' * (hearts > 1)}.",
        ],
        f"{name}: | lda $7EF36D | clc | adc #{amount} | cmp $7EF36C | bcc @store | lda $7EF36C | @store: | sta $7EF36D"
        f" | {back}",
        [
            f"A full heart counts 8, so {hearts} * 8 = {amount} is added.",
            "cmp with the maximum decides which value is kept.",
        ],
        [
            "Health never exceeds 160 (20 hearts), so the 8-bit sum cannot overflow.",
            "All of this is 8-bit arithmetic.",
        ],
        [
            Run(mem={HEALTH: 8, MAX_HEALTH: 160}, out={HEALTH: 8 + amount}),
            Run(mem={HEALTH: 24, MAX_HEALTH: 24}, out={HEALTH: 24}),
        ],
    )


@family
def hurt(d: Dice) -> Row:
    amount = d.pick(2, 4, 8, 12, 16, 20, 24, 32, 40)
    name, back = label(d, "hurt", d.pick("link", "player")), leave(d)
    return routine(
        d,
        [
            f"Take {amount} points of health from Link and stop at zero.",
            f"Subtract {amount} from $7EF36D with saturation at 0.",
            f"Write {name}: damage of {amount} points, no wrap below zero.",
        ],
        f"{name}: | lda $7EF36D | sec | sbc #{amount} | bcs @alive | lda #0 | @alive: | sta $7EF36D | {back}",
        ["After sec and sbc a clear carry means a borrow, and then the result is replaced by 0."],
        [
            "Without the check the byte would wrap to a very large health.",
            f"{amount} points make {amount} / 8 = {amount / 8:g} in hearts.",
        ],
        [
            Run(mem={HEALTH: 80}, out={HEALTH: 80 - amount}),
            Run(mem={HEALTH: amount - 1}, out={HEALTH: 0}),
        ],
    )


@family
def counter_up(d: Dice) -> Row:
    address, what, limit = d.of(BYTES)
    limit = d.pick(limit, limit - d.between(1, 5))
    amount = d.pick(1, 1, 2, 3, 4)
    name, back = label(d, "more", what.split()[-1]), leave(d)
    add = "inc a" if amount == 1 else f"clc | adc #{amount}"
    runs = [
        Run(mem={address: 1}, out={address: 1 + amount}),
        Run(mem={address: limit}, out={address: limit}),
        Run(mem={address: limit - 1}, out={address: limit}),
    ]
    return routine(
        d,
        [
            f"Increase the {what} count ({x6(address)}) by {amount}, at most {limit}.",
            f"Write {name}: {what} += {amount} with an upper limit of {limit}.",
        ],
        f"{name}: | lda {x6(address)} | {add} | cmp #{limit} | bcc @ok | lda #{limit} | @ok: | sta {x6(address)} | "
        f"{back}",
        [f"A sum of {limit} or more is replaced by {limit}."],
        [
            "There is no inc with a long address, so the byte goes through A.",
            "inc a needs no clc, unlike adc." if amount == 1 else "clc keeps an old carry out of the sum.",
        ],
        runs,
    )


@family
def counter_use(d: Dice) -> Row:
    address, what, _ = d.of(BYTES)
    cost = 1 if what != "magic" else d.pick(4, 8, 16)
    name, back = label(d, "use", what.split()[-1]), leave(d)
    take = "dec a" if cost == 1 else f"sec | sbc #{cost}"
    test = "beq @none" if cost == 1 else f"cmp #{cost} | bcc @none"
    ask = f"{cost} from" if cost > 1 else "one from"
    return routine(
        d,
        [
            f"Take {ask} the {what} count at {x6(address)}; carry clear if there are not enough.",
            f"Write {name}: spend {cost} of {what}, carry set on success, nothing changed on failure.",
        ],
        f"{name}: | lda {x6(address)} | {test} | {take} | sta {x6(address)} | sec | {back} | @none: | clc | {back}",
        ["The test comes before the subtraction, so a failed call leaves the counter alone."],
        ["The carry is the answer to the caller: bcc after the call handles the empty case."],
        [
            Run(mem={address: cost + 2}, out={address: 2}, end={"c": 1}),
            Run(mem={address: cost - 1}, out={address: cost - 1}, end={"c": 0}),
        ],
    )


@family
def low_health_check(d: Dice) -> Row:
    limit, name, back = d.pick(8, 16, 24, 32), label(d, d.pick("check", "is"), "weak"), leave(d)
    flag = d.step(0x0600, 0x06F0, 0x10)
    return routine(
        d,
        [
            f"Set ${flag:04X} to 1 when Link has fewer than {limit // 8} full heart(s) left, else 0.",
            f"Write {name}: ${flag:04X} = 1 if $7EF36D < {limit}, otherwise 0.",
        ],
        f"{name}: | stz ${flag:04X} | lda $7EF36D | cmp #{limit} | bcs @fine | inc ${flag:04X} | @fine: | {back}",
        [f"bcs is taken for health of {limit} or more and leaves the flag at 0."],
        ["inc on a cleared byte makes 1 without touching A.", f"{limit} points are {limit // 8} heart(s)."],
        [
            Run(mem={HEALTH: limit - 1}, out={flag: 1}),
            Run(mem={HEALTH: limit, flag: 7}, out={flag: 0}),
        ],
    )


@family
def half_magic_cost(d: Dice) -> Row:
    cost, name, back = d.pick(4, 8, 16, 32), label(d, "magic", "cost"), leave(d)
    return routine(
        d,
        [
            f"Spend {cost} magic, or {cost // 2} with the half-magic upgrade ($7EF37B = 1), or {cost // 4} if it is 2.",
            f"Write {name}: base cost {cost}, halved once per level in $7EF37B; carry clear when magic is short.",
        ],
        f"{name}: | lda $7EF37B | tax | lda #{cost} | cpx #0 | beq @have | @half: | lsr a | dex | bne @half | @have:"
        " | sta $00 | lda $7EF36E | sec | sbc $00 | bcc @short | sta $7EF36E | @short: | " + back,
        ["Each lsr halves the cost, once per level of the upgrade.", "A borrow leaves the meter unchanged."],
        ["$00 serves as scratch for the cost.", "The carry after sbc tells the caller whether it worked."],
        [
            Run(mem={0x7EF37B: level, 0x7EF36E: 0x40}, out={0x7EF36E: 0x40 - (cost >> level)}, end={"c": 1})
            for level in (0, 1, 2)
        ],
    )
