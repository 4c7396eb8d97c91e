"""Arguments for every function and the ways in which people ask for it."""

from collections.abc import Callable
from typing import Any

from ..dice import Dice
from .api import CHECKS, GROUPS, ITEMS

Arguments = dict[str, Any]
Request = tuple[str, Arguments]

SPRITES = {
    "0x0D": "buzzblob", "0x12": "moblin", "0x15": "antifairy", "0x18": "mini moldorm", "0x24": "blue bari",
    "0x41": "blue guard",
    "0x42": "green guard", "0x43": "red spear guard", "0x8B": "gibdo", "0xA7": "stalfos", "0xE3": "fairy",
    "0xE4": "small key",
}  # fmt: skip
LINES = (
    "The lake is dry.", "Beware of the cave!", "It costs 40 rupees.", "Come back at night.", "The master key is lost.",
    "No one lives here now.", "Listen to the flute.", "Two doors, one truth.", "The well is deep.",
    "Push the left statue.",
    "Only light opens this gate.", "The smith is away.", "Bring me a mushroom.", "You look tired, hero.",
    "Mind the thin ice.",
    "The bridge will hold.", "North of here is the mine.", "Who broke my pots?", "Sleep well, little one.",
    "Try the hammer.",
)  # fmt: skip
IMAGES = (
    "link_blue",
    "trees",
    "boss_tiles",
    "town_roof",
    "hud_icons",
    "swamp",
    "statue",
    "ice_floor",
    "desert",
    "new_sword",
)
PATCHES = (
    "hack",
    "release",
    "beta",
    "swamp_palace",
    "test_build",
    "hard_mode",
    "translation",
    "night_edit",
    "dungeon_pack",
)


def rom(d: Dice) -> str:
    """A SNES address in the LoROM area."""
    return f"0x{d.between(0, 0x1F) << 16 | d.between(0x8000, 0xFFFF):06X}"


def hex_bytes(d: Dice, low: int, high: int) -> str:
    """A few bytes in hex."""
    return " ".join(f"{d.between(0, 255):02X}" for _ in range(d.between(low, high)))


def read_rom(d: Dice) -> Request:
    a, n = rom(d), d.pick(1, 2, 4, 8, 16, 32, d.between(3, 200))
    many = f"{n} bytes" if n > 1 else "the byte"
    return d.pick(
        f"Show me {many} at {a}.", f"What is stored at {a}? I need {many}.", f"dump {a}, length {n}",
        f"Read {many} starting from {a}, please.", f"Could you fetch {many} of the ROM at {a}?",
    ), {"address": a, "length": n}  # fmt: skip


def write_rom(d: Dice) -> Request:
    a, b = rom(d), hex_bytes(d, 1, 5)
    return d.pick(
        f"Write {b} to {a}.", f"Patch the ROM at {a} with the bytes {b}.", f"poke {a}: {b}",
        f"At {a} the code should read {b} from now on.", f"Overwrite what is at {a} with {b}.",
    ), {"address": a, "bytes": b}  # fmt: skip


def find_pattern(d: Dice) -> Request:
    parts = hex_bytes(d, 3, 5).split()
    if d.chance(0.4):
        parts[d.between(1, len(parts) - 1)] = "??"
    pattern = " ".join(parts)
    arguments = {"pattern": pattern}
    where = ""
    if d.chance(0.45):
        arguments["bank"] = f"0x{d.between(0, 0x1F):02X}"
        where = f" in bank {arguments['bank']}"
    return d.pick(
        f"Where does {pattern} occur{where}?", f"Search{where} for {pattern}.",
        f"Find all places{where} with {pattern}.",
        f"grep {pattern}{where}", f"I am looking for the sequence {pattern}{where}.",
    ), arguments  # fmt: skip


def get_room(d: Dice) -> Request:
    room = d.between(0, 295)
    return d.pick(
        f"What is in room {room}?", f"Load dungeon room {room}.", f"List the sprites and objects of room {room}.",
        f"show room {room}", f"I want to look at the header of room {room}.",
    ), {"room": room}  # fmt: skip


def set_room_object(d: Dice) -> Request:
    a = {
        "room": d.between(0, 295), "object": f"0x{d.between(0, 0x1FF):03X}", "x": d.between(0, 63), "y": d.between(0,
        63),
        "size": d.between(0, 15), "layer": d.between(0, 2),
    }  # fmt: skip
    return d.pick(
        f"Add object {a['object']} to room {a['room']} at ({a['x']}, {a['y']}), size {a['size']}, layer {a['layer']}.",
        f"Room {a['room']}, layer {a['layer']}: I want {a['object']} of size {a['size']} at x {a['x']}, y {a['y']}.",
        f"Draw {a['object']} in room {a['room']}: position {a['x']},{a['y']}, size {a['size']}, layer {a['layer']}.",
    ), a  # fmt: skip


def place_sprite(d: Dice) -> Request:
    sprite = d.of(sorted(SPRITES))
    a = {"room": d.between(0, 295), "sprite": sprite, "x": d.between(0, 31), "y": d.between(0, 31)}
    who = d.pick(f"sprite {sprite}", f"a {SPRITES[sprite]} ({sprite})", f"{sprite} ({SPRITES[sprite]})")
    return d.pick(
        f"Put {who} into room {a['room']} at {a['x']},{a['y']}.",
        f"Room {a['room']} needs {who} at x={a['x']}, y={a['y']}.",
        f"Add {who} at column {a['x']}, row {a['y']} of room {a['room']}.",
        f"spawn {who} room {a['room']} pos {a['x']} {a['y']}",
    ), a  # fmt: skip


def move_sprite(d: Dice) -> Request:
    a = {"room": d.between(0, 295), "index": d.between(0, 15), "x": d.between(0, 31), "y": d.between(0, 31)}
    return d.pick(
        f"Move sprite {a['index']} of room {a['room']} to ({a['x']}, {a['y']}).",
        f"In room {a['room']} sprite number {a['index']} belongs at {a['x']},{a['y']}.",
        f"Shift entry {a['index']} in the sprite list of room {a['room']} to column {a['x']}, row {a['y']}.",
    ), a


def remove_sprite(d: Dice) -> Request:
    a = {"room": d.between(0, 295), "index": d.between(0, 15)}
    return d.pick(
        f"Delete sprite {a['index']} from room {a['room']}.", f"Room {a['room']}: get rid of sprite {a['index']}.",
        f"Sprite {a['index']} in room {a['room']} is one too many, take it out.",
        f"remove enemy #{a['index']} in room {a['room']}",
    ), a  # fmt: skip


def get_palette(d: Dice) -> Request:
    a = {"group": d.of(GROUPS), "palette": d.between(0, 19)}
    g = a["group"]
    return d.pick(
        f"Which colors are in {g} palette {a['palette']}?", f"Show palette {a['palette']} of the group {g}.",
        f"print {g} {a['palette']}", f"Read me the {g} palette number {a['palette']}.",
    ), a  # fmt: skip


def set_palette_color(d: Dice) -> Request:
    a = {
        "group": d.of(GROUPS),
        "palette": d.between(0, 19),
        "color": d.between(0, 15),
        "rgb": f"#{d.between(0, 0xFFFFFF):06X}",
    }
    return d.pick(
        f"Set color {a['color']} of {a['group']} palette {a['palette']} to {a['rgb']}.",
        f"{a['group']}, palette {a['palette']}: color {a['color']} should be {a['rgb']}.",
        f"Recolor entry {a['color']} in palette {a['palette']} ({a['group']}) as {a['rgb']}.",
        f"I would like {a['rgb']} for color {a['color']}, {a['group']} palette {a['palette']}.",
    ), a  # fmt: skip


def set_tile16(d: Dice) -> Request:
    a = {"map": d.between(0, 159), "x": d.between(0, 31), "y": d.between(0, 31), "tile": d.between(0, 3700)}
    return d.pick(
        f"Place tile16 {a['tile']} on map {a['map']} at {a['x']},{a['y']}.",
        f"Overworld map {a['map']}: change ({a['x']}, {a['y']}) to tile {a['tile']}.",
        f"Paint tile16 number {a['tile']} at column {a['x']}, row {a['y']} of area {a['map']}.",
    ), a


def import_graphics(d: Dice) -> Request:
    a = {"sheet": d.between(0, 222), "file": d.of(IMAGES) + d.pick(".png", ".bmp")}
    return d.pick(
        f"Load {a['file']} into graphics sheet {a['sheet']}.", f"Replace sheet {a['sheet']} with {a['file']}.",
        f"My new art is {a['file']}; it goes to sheet {a['sheet']}.", f"import gfx {a['file']} -> {a['sheet']}",
    ), a  # fmt: skip


def add_item(d: Dice) -> Request:
    a = {"map": d.between(0, 159), "item": d.of(ITEMS), "x": d.between(0, 31), "y": d.between(0, 31)}
    thing = a["item"].replace("_", " ")
    return d.pick(
        f"Hide a {thing} on map {a['map']} at ({a['x']}, {a['y']}).",
        f"Under the bush at {a['x']},{a['y']} of overworld map {a['map']} there should be a {thing}.",
        f"Map {a['map']}: secret {thing}, column {a['x']}, row {a['y']}.",
    ), a


def set_message(d: Dice) -> Request:
    a = {"id": d.between(0, 396), "text": d.of(LINES)}
    return d.pick(
        f"Change message {a['id']} to: {a['text']}", f"Dialogue {a['id']} should say '{a['text']}'",
        f"Text number {a['id']} becomes '{a['text']}'", f"The sign with message {a['id']} must read: {a['text']}",
    ), a  # fmt: skip


def set_entrance(d: Dice) -> Request:
    a = {"entrance": d.between(0, 132), "room": d.between(0, 295)}
    return d.pick(
        f"Entrance {a['entrance']} should lead to room {a['room']}.",
        f"Link entrance {a['entrance']} with room {a['room']}.",
        f"When I go in at entrance {a['entrance']}, I want to come out in room {a['room']}.",
    ), a  # fmt: skip


def export_patch(d: Dice) -> Request:
    kind = d.pick("bps", "ips")
    file = f"{d.of(PATCHES)}{d.pick('', '_v2', '_final', f'_{d.between(1, 30)}')}.{kind}"
    return d.pick(
        f"Make an {kind.upper()} patch called {file}." if kind == "ips" else f"Make a {kind.upper()} patch called "
                                                                             f"{file}.",
        f"Export my changes as {file}.", f"I am done for today, write the patch {file}.",
        f"Save the difference to the clean ROM in {file}.",
    ), {"format": kind, "file": file}  # fmt: skip


def validate_rom(d: Dice) -> Request:
    checks = d.some(CHECKS, d.between(1, 3))
    names = " and ".join([", ".join(checks[:-1]), checks[-1]]) if len(checks) > 1 else checks[0]
    return d.pick(
        f"Check the ROM: {names}.", f"Validate {names}, please.", f"Is everything all right with the {names}?",
        f"Before release I want these tests: {names}.", f"run checks {names}",
    ), {"checks": checks}  # fmt: skip


REQUESTS: dict[str, Callable[[Dice], Request]] = {
    build.__name__: build
    for build in (
        read_rom, write_rom, find_pattern, get_room, set_room_object, place_sprite, move_sprite, remove_sprite,
        get_palette,
        set_palette_color, set_tile16, import_graphics, add_item, set_message, set_entrance, export_patch, validate_rom,
    )
}  # fmt: skip
