"""Rupees, hearts, magic, keys and ammunition: the counters of the save data in bank $7E."""

from ..dice import Dice
from ..emulate import Run
from .row import Row, family, label, le, leave, loop, routine, x2, x6

BYTES = (
    (0x7EF343, "bombs", 50),
    (0x7EF36E, "magic", 0x80),
    (0x7EF36F, "small keys", 9),
    (0x7EF377, "arrows", 70),
)
ITEMS = (
    (0x7EF340, "bow"), (0x7EF342, "hookshot"), (0x7EF345, "fire rod"), (0x7EF346, "ice rod"), (0x7EF34A, "lamp"),
    (0x7EF34B, "hammer"), (0x7EF353, "mirror"), (0x7EF354, "gloves"), (0x7EF355, "boots"), (0x7EF356, "flippers"),
    (0x7EF357, "moon pearl"),
)  # fmt: skip
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
    price, name, back = d.pick(10, 30, 50, 120, 500, d.between(11, 400)), label(d, "buy", d.pick("item", "shield", "potion")), leave(d)
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
        [f"A full heart counts 8, so {hearts} of them are {amount}.", "cmp with the maximum decides which value is kept."],
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
            f"Write {name}: damage of {amount / 8:g} hearts, no wrap below zero.",
        ],
        f"{name}: | lda $7EF36D | sec | sbc #{amount} | bcs @alive | lda #0 | @alive: | sta $7EF36D | {back}",
        ["After sec and sbc a clear carry means a borrow, and then the result is replaced by 0."],
        ["Without the check the byte would wrap to a very large health.", f"{amount} points are {amount / 8:g} hearts."],
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
        f"{name}: | lda {x6(address)} | {add} | cmp #{limit} | bcc @ok | lda #{limit} | @ok: | sta {x6(address)} | {back}",
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
def give_item(d: Dice) -> Row:
    address, what = d.of(ITEMS)
    level = d.between(1, 2) if what in ("bow", "gloves", "mirror") else 1
    name, back = label(d, "give", what.split()[-1]), leave(d)
    return routine(
        d,
        [
            f"Give Link the {what} (level {level}), but do not downgrade what he has.",
            f"Write {name}: set {x6(address)} to {level} only if it is lower.",
        ],
        f"{name}: | lda {x6(address)} | cmp #{level} | bcs @keep | lda #{level} | sta {x6(address)} | @keep: | {back}",
        [f"bcs skips the store when the slot already holds {level} or more."],
        [f"The inventory byte of the {what} is {x6(address)}.", "cmp is unsigned, as item levels are."],
        [
            Run(mem={address: 0}, out={address: level}),
            Run(mem={address: 3}, out={address: 3}),
        ],
    )


@family
def upgrade_step(d: Dice) -> Row:
    address, what, top = d.pick((0x7EF359, "sword", 4), (0x7EF35A, "shield", 3), (0x7EF35B, "mail", 2), (0x7EF354, "gloves", 2))
    cap = d.between(1, top)
    name, back = label(d, "next", what), leave(d)
    return routine(
        d,
        [
            f"Raise the {what} at {x6(address)} by one level, up to level {cap}.",
            f"Write {name}: progressive {what}, stopping at level {cap}.",
        ],
        f"{name}: | lda {x6(address)} | cmp #{cap} | bcs @top | inc a | sta {x6(address)} | @top: | {back}",
        [f"At level {cap} or above the routine changes nothing."],
        ["inc a works on the accumulator, since inc cannot address bank $7E long.", "The compare is unsigned."],
        [
            Run(mem={address: cap - 1}, out={address: cap}),
            Run(mem={address: cap}, out={address: cap}),
        ],
    )


@family
def heart_piece(d: Dice) -> Row:
    need, name, back = d.pick(4, 4, 3, 2), label(d, "heart", "piece"), leave(d)
    cap = d.pick(160, 160, 80)
    return routine(
        d,
        [
            f"Collect a heart piece ($7EF36B). Every {need} of them add a heart to $7EF36C, at most {cap}.",
            f"Write {name}: count pieces, and on number {need} reset the count and raise max health by 8 (cap {cap}).",
        ],
        f"{name}: | lda $7EF36B | inc a | cmp #{need} | bcc @keep | lda $7EF36C | clc | adc #8 | cmp #{cap} | bcc @max"
        f" | lda #{cap} | @max: | sta $7EF36C | lda #0 | @keep: | sta $7EF36B | {back}",
        [f"With fewer than {need} pieces only the count is stored; otherwise it returns to 0 and the maximum grows."],
        ["Max health is stored in eighths of a heart, so one container is 8.", f"{cap} means {cap // 8} hearts."],
        [
            Run(mem={0x7EF36B: 0, MAX_HEALTH: 24}, out={0x7EF36B: 1, MAX_HEALTH: 24}),
            Run(mem={0x7EF36B: need - 1, MAX_HEALTH: 24}, out={0x7EF36B: 0, MAX_HEALTH: 32}),
            Run(mem={0x7EF36B: need - 1, MAX_HEALTH: cap}, out={0x7EF36B: 0, MAX_HEALTH: cap}),
        ],
    )


@family
def full_refill(d: Dice) -> Row:
    name, back = label(d, "refill", d.pick("all", "link")), leave(d)
    parts = d.some(
        [
            ("health", "lda $7EF36C | sta $7EF36D", {HEALTH: 0x50}, "health takes the value of the maximum"),
            ("magic", "lda #$80 | sta $7EF36E", {0x7EF36E: 0x80}, "a full magic meter is $80"),
            ("bombs", "lda #10 | sta $7EF343", {0x7EF343: 10}, "the bombs become 10"),
            ("arrows", "lda #30 | sta $7EF377", {0x7EF377: 30}, "the arrows become 30"),
            ("keys", "lda #1 | sta $7EF36F", {0x7EF36F: 1}, "one key is set"),
        ],
        d.between(2, 4),
    )
    what = ", ".join(part[0] for part in parts)
    out = {address: value for part in parts for address, value in part[2].items()}
    return routine(
        d,
        [
            f"Write a debug routine that sets {what} at once.",
            f"On a fairy fountain I want to set these: {what}. Show one routine ({name}).",
        ],
        f"{name}: | {' | '.join(part[1] for part in parts)} | {back}",
        [f"In order: {'; '.join(part[3] for part in parts)}."],
        ["Every value is a single byte, so A stays 8-bit.", "The stores are long, so DB does not matter."],
        [Run(mem={MAX_HEALTH: 0x50}, out=out)],
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
def count_items(d: Dice) -> Row:
    first, last = d.pick((0x7EF340, 0x7EF34E), (0x7EF345, 0x7EF34B), (0x7EF350, 0x7EF357), (0x7EF35C, 0x7EF35F))
    size, at = last - first + 1, loop(d)
    name, back = label(d, "count", d.pick("items", "owned")), leave(d)
    data = bytes(index % 3 for index in range(size))
    return routine(
        d,
        [
            f"Count how many of the inventory bytes {x6(first)}-{x6(last)} are not zero; result in Y.",
            f"Write {name}: Y = number of owned items among {size} bytes at {x6(first)}.",
        ],
        f"{name}: | ldy #0 | ldx #{size - 1} | {at}: | lda {x6(first)},x | beq @skip | iny | @skip: | dex | bpl {at} | {back}",
        ["lda sets Z, so beq skips iny for empty slots."],
        [f"X visits the offsets {size - 1} to 0.", "The load is long,x because the save data lies in bank $7E."],
        [Run(mem={first: data}, out={}, end={"y": sum(1 for v in data if v)})],
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


@family
def merge_flags(d: Dice) -> Row:
    address, what, bit = d.pick((0x7EF374, "pendants", d.between(0, 2)), (0x7EF37A, "crystals", d.between(0, 6)))
    name, back = label(d, "mark", what[:-1]), leave(d)
    mask = 1 << bit
    return routine(
        d,
        [
            f"Set bit {bit} of the {what} byte {x6(address)} and keep the others.",
            f"Write {name}: collected {what} are a bit field at {x6(address)}; add {x2(mask)}.",
        ],
        f"{name}: | lda {x6(address)} | ora #{x2(mask)} | sta {x6(address)} | {back}",
        [f"ora with {x2(mask)} sets bit {bit} and leaves the rest as it was."],
        ["tsb has no long addressing, so the byte passes through A.", "Setting a bit twice does no harm."],
        [Run(mem={address: 0x80}, out={address: 0x80 | mask}), Run(mem={address: mask}, out={address: mask})],
    )
