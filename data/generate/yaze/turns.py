"""Conversations of two steps: what a tool gives back, and the answer or the next call that follows from it."""

from typing import Any

from ..dice import Dice
from .requests import IMAGES, PATCHES, SPRITES, get_palette, get_room, hex_bytes, read_rom, rom

Step = tuple[str, str, dict[str, Any], Any, Any]
"""What the user wants, the first tool, its arguments, its result, and the end: a text or a (tool, arguments) pair."""


def read_then_say(d: Dice) -> Step:
    ask, arguments = read_rom(d)
    arguments["length"] = n = d.pick(1, 2, 3, 4)
    a = arguments["address"]
    data = hex_bytes(d, n, n)
    ask = d.pick(f"Which byte{'s' * (n > 1)} ({n}) does the ROM have at {a}?", f"Tell me the {n} byte(s) at {a}.",
                 f"What value sits at {a}, {n} byte(s)?")  # fmt: skip
    if n == 2:
        low, high = data.split()
        return ask, "read_rom", arguments, {"bytes": data}, f"{a} holds {data}, which is 0x{high}{low} as a word."
    return ask, "read_rom", arguments, {"bytes": data}, f"{a} holds {data}."


def search_then_say(d: Dice) -> Step:
    pattern = hex_bytes(d, 3, 4)
    hits = sorted(rom(d) for _ in range(d.pick(0, 1, 2, 3)))
    ask = d.pick(
        f"How often is {pattern} in the ROM?", f"Is {pattern} anywhere in the ROM?", f"Count the hits for {pattern}."
    )
    end = (
        f"{pattern} does not occur in the ROM."
        if not hits
        else f"{pattern} occurs {'once' if len(hits) == 1 else f'{len(hits)} times'}: {', '.join(hits)}."
    )
    return ask, "find_pattern", {"pattern": pattern}, {"addresses": hits}, end


def search_then_write(d: Dice) -> Step:
    pattern, new, hit = hex_bytes(d, 3, 4), hex_bytes(d, 1, 3), rom(d)
    ask = d.pick(
        f"Find {pattern} and overwrite its first bytes with {new}.",
        f"Replace the start of {pattern} by {new}, wherever it is.",
        f"{pattern} occurs once. Write {new} there.",
    )  # fmt: skip
    return (
        ask,
        "find_pattern",
        {"pattern": pattern},
        {"addresses": [hit]},
        ("write_rom", {"address": hit, "bytes": new}),
    )


def _room(d: Dice, room: int) -> tuple[dict[str, Any], list[str]]:
    kinds = d.some(sorted(SPRITES), d.between(2, 4))
    sprites = [
        {"index": k, "sprite": kind, "x": d.between(0, 31), "y": d.between(0, 31)} for k, kind in enumerate(kinds)
    ]
    return {"room": room, "sprites": sprites}, kinds


def room_then_say(d: Dice) -> Step:
    _, arguments = get_room(d)
    result, kinds = _room(d, arguments["room"])
    room = arguments["room"]
    ask = d.pick(
        f"How many sprites are in room {room}?",
        f"Which sprites does room {room} have?",
        f"Who is waiting in room {room}?",
    )
    names = ", ".join(f"{SPRITES[kind]} ({kind})" for kind in kinds)
    return ask, "get_room", arguments, result, f"Room {room} has {len(kinds)} sprites: {names}."


def room_then_move(d: Dice) -> Step:
    _, arguments = get_room(d)
    room = arguments["room"]
    result, kinds = _room(d, room)
    k, x, y = d.between(0, len(kinds) - 1), d.between(0, 31), d.between(0, 31)
    who = SPRITES[kinds[k]]
    if d.chance(0.5):
        ask = d.pick(
            f"Move the {who} ({kinds[k]}) in room {room} to {x},{y}.",
            f"The {who} {kinds[k]} of room {room} should stand at ({x}, {y}).",
        )
        return ask, "get_room", arguments, result, ("move_sprite", {"room": room, "index": k, "x": x, "y": y})
    ask = d.pick(
        f"Take the {who} ({kinds[k]}) out of room {room}.", f"Room {room} is too hard: delete the {who} {kinds[k]}."
    )
    return ask, "get_room", arguments, result, ("remove_sprite", {"room": room, "index": k})


def palette_then_say(d: Dice) -> Step:
    _, arguments = get_palette(d)
    k = d.between(0, 3)
    colors = [f"#{d.between(0, 0xFFFFFF):06X}" for _ in range(4)]
    g, p = arguments["group"], arguments["palette"]
    ask = d.pick(f"What is color {k} of {g} palette {p}?", f"I need the RGB value of entry {k}, {g} palette {p}.")
    return ask, "get_palette", arguments, {"colors": colors}, f"Color {k} of {g} palette {p} is {colors[k]}."


def palette_then_copy(d: Dice) -> Step:
    _, arguments = get_palette(d)
    one, two = d.some(range(4), 2)
    colors = [f"#{d.between(0, 0xFFFFFF):06X}" for _ in range(4)]
    g, p = arguments["group"], arguments["palette"]
    ask = d.pick(
        f"Copy color {one} over color {two} in {g} palette {p}.",
        f"In {g} palette {p}, entry {two} should equal entry {one}.",
    )
    return ask, "get_palette", arguments, {"colors": colors}, (
        "set_palette_color", {"group": g, "palette": p, "color": two, "rgb": colors[one]},
    )  # fmt: skip


def check_then_export(d: Dice) -> Step:
    kind, name = d.pick("bps", "ips"), f"{d.of(PATCHES)}_{d.between(1, 40)}"
    check = d.pick("checksum", "pointers", "freespace", "sprites", "messages")
    clean = d.chance(0.6)
    file = f"{name}.{kind}"
    ask = d.pick(
        f"If the {check} check is clean, export {file}.",
        f"Validate the {check}; when there is no problem, write {file}.",
    )
    arguments = {"checks": [check]}
    if clean:
        return ask, "validate_rom", arguments, {"problems": []}, ("export_patch", {"format": kind, "file": file})
    room = d.between(0, 295)
    problem = {
        "checksum": "checksum does not match the data", "pointers": f"pointer of room {room} leaves its bank",
        "freespace": f"bank 0x{d.between(16, 31):02X} is {d.between(2, 90)} bytes too full",
        "sprites": f"room {room} has {d.between(17, 24)} sprites, the limit is 16",
        "messages": f"message {d.between(0, 396)} is too long",
    }[check]  # fmt: skip
    return ask, "validate_rom", arguments, {"problems": [problem]}, f"I did not export {file}: {problem}."


def write_then_say(d: Dice) -> Step:
    a, b = rom(d), hex_bytes(d, 2, 4)
    ok = d.chance(0.6)
    ask = d.pick(
        f"Write {b} at {a} and tell me whether it worked.",
        f"Put {b} at {a}, then confirm.",
        f"Set {a} to {b}; was it accepted?",
    )
    n = len(b.split())
    if ok:
        return ask, "write_rom", {"address": a, "bytes": b}, {"written": n}, f"Done: {n} bytes were written at {a}."
    error = d.pick("address is protected", "ROM is read-only", "write crosses a bank border")
    return ask, "write_rom", {"address": a, "bytes": b}, {"error": error}, f"Nothing was written at {a}: {error}."


def import_then_say(d: Dice) -> Step:
    file, sheet = f"{d.of(IMAGES)}_{d.between(1, 9)}.png", d.between(0, 222)
    ok = d.chance(0.5)
    ask = d.pick(f"Import {file} as sheet {sheet}. Any trouble?", f"Try to load {file} into sheet {sheet} and report.")
    if ok:
        colors = d.between(2, 8)
        return (
            ask,
            "import_graphics",
            {"sheet": sheet, "file": file},
            {"colors": colors},
            (f"{file} is now sheet {sheet}; it uses {colors} colors."),
        )
    error = d.pick("image is not 128 pixels wide", f"image has {d.between(17, 60)} colors", "file not found")
    return (
        ask,
        "import_graphics",
        {"sheet": sheet, "file": file},
        {"error": error},
        f"Sheet {sheet} is unchanged: {error} ({file}).",
    )


TURNS = (
    read_then_say, search_then_say, search_then_write, room_then_say, room_then_move, palette_then_say,
    palette_then_copy,
    check_then_export, write_then_say, import_then_say, search_then_write, room_then_move, palette_then_copy,
)  # fmt: skip
