"""Items, upgrades, heart pieces and collected flags of the save data."""

from ..dice import Dice
from ..emulate import Run
from .row import Row, family, label, leave, loop, routine, x2, x6

ITEMS = (
    (0x7EF340, "bow"), (0x7EF342, "hookshot"), (0x7EF345, "fire rod"), (0x7EF346, "ice rod"), (0x7EF34A, "lamp"),
    (0x7EF34B, "hammer"), (0x7EF353, "mirror"), (0x7EF354, "gloves"), (0x7EF355, "boots"), (0x7EF356, "flippers"),
    (0x7EF357, "moon pearl"),
)  # fmt: skip
MAX_HEALTH, HEALTH = 0x7EF36C, 0x7EF36D


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
    address, what, top = d.pick(
        (0x7EF359, "sword", 4), (0x7EF35A, "shield", 3), (0x7EF35B, "mail", 2), (0x7EF354, "gloves", 2)
    )
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
        f"{name}: | ldy #0 | ldx #{size - 1} | {at}: | lda {x6(first)},x | beq @skip | iny | @skip: | dex | bpl "
        f"{at} | {back}",
        ["lda sets Z, so beq skips iny for empty slots."],
        [f"X visits the offsets {size - 1} to 0.", "The load is long,x because the save data lies in bank $7E."],
        [Run(mem={first: data}, out={}, end={"y": sum(1 for v in data if v)})],
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
