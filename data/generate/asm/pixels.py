"""Sums about colors, tiles and tilemaps."""

from ..dice import Dice
from .reckon import fact
from .row import Row, family, x4


@family
def color_word(d: Dice) -> Row:
    r, g, b = d.between(0, 31), d.between(0, 31), d.between(0, 31)
    value = r | g << 5 | b << 10
    if d.chance(0.5):
        return fact(
            d,
            [
                f"What is the SNES color word for r={r}, g={g}, b={b} (5 bits each)?",
                f"Pack red {r}, green {g}, blue {b} into a CGRAM word.",
                f"I want a `.word` for the color ({r}, {g}, {b}) on the 0-31 scale.",
            ],
            f"Blue is shifted by 10 and green by 5: {b} * 1024 + {g} * 32 + {r} = {value}, which is {x4(value)}."
            f" In memory it is {value & 255:02X} {value >> 8:02X}.",
        )
    return fact(
        d,
        [f"Split the palette word {x4(value)} into red, green and blue.", f"Which color is {x4(value)} in CGRAM?"],
        f"Red is the low five bits, {r}. Green is bits 5-9, {g}. Blue is bits 10-14, {b}.",
    )


@family
def tile_word(d: Dice) -> Row:
    tile, palette, priority = d.between(0, 0x3FF), d.between(0, 7), d.between(0, 1)
    flip = d.pick((0, "no flip"), (0x4000, "horizontal flip"), (0x8000, "vertical flip"), (0xC000, "both flips"))
    value = flip[0] | priority << 13 | palette << 10 | tile
    if d.chance(0.5):
        return fact(
            d,
            [
                f"BG tilemap word for tile ${tile:03X}, palette {palette}, priority {priority}, {flip[1]}?",
                f"Build the map entry: tile ${tile:03X}, palette {palette}, {flip[1]}, priority bit {priority}.",
            ],
            f"The word is {x4(value)}: flips {x4(flip[0])}, priority {x4(priority << 13)}, palette {palette} * $400 = "
            f"{x4(palette << 10)}, tile ${tile:03X}.",
        )
    return fact(
        d,
        [f"Decode the tilemap word {x4(value)}.", f"Which tile, palette and flips does {x4(value)} mean in a BG map?"],
        f"Tile ${tile:03X} (bits 0-9), palette {palette} (bits 10-12), priority {priority} (bit 13), {flip[1]} "
        f"(bits 14-15).",
    )


@family
def tile_address(d: Dice) -> Row:
    depth, base, tile = d.pick(2, 4), d.step(0, 0x6000, 0x1000), d.between(1, 0x1FF)
    step = depth * 4
    return fact(
        d,
        [
            f"VRAM word address of {depth}bpp tile ${tile:03X} when the graphics start at {x4(base)}?",
            f"Character base {x4(base)}, {depth}bpp: where in VRAM (words) is tile ${tile:03X}?",
        ],
        f"A {depth}bpp 8x8 tile takes {depth * 8} bytes, which is {step} words. {x4(base)} + ${tile:03X} * {step} = "
        f"{x4(base + tile * step)}.",
    )


@family
def tilemap_offset(d: Dice) -> Row:
    x, y, base = d.between(0, 31), d.between(0, 31), d.step(0x0400, 0x7000, 0x400)
    return fact(
        d,
        [
            f"VRAM word address of column {x}, row {y} in a 32x32 map at {x4(base)}?",
            f"32x32 tilemap at VRAM {x4(base)}: which word is tile ({x}, {y})?",
        ],
        f"A row has 32 words, so it is {x4(base)} + {y} * 32 + {x} = {x4(base + y * 32 + x)}.",
    )
