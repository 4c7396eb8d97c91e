"""Requests that cannot be carried out as they stand: something is missing, or a number is out of range."""

from ..dice import Dice
from .api import GROUPS
from .requests import IMAGES, LINES, SPRITES, hex_bytes, rom


def missing(d: Dice) -> tuple[str, str]:
    """A request that leaves out an argument, and the question that asks for it."""
    sprite, room, a, sheet = d.of(sorted(SPRITES)), d.between(0, 295), rom(d), d.between(0, 222)
    x, y, m, n = d.between(0, 31), d.between(0, 31), d.between(0, 159), d.between(0, 15)
    file, who = f"{d.of(IMAGES)}.png", SPRITES[sprite]
    b = hex_bytes(d, 2, 4)
    rgb = f"#{d.between(0, 0xFFFFFF):06X}"
    line = d.of(LINES)
    return d.pick(
        (
            f"Add a {who} ({sprite}) to room {room}.",
            f"Where in room {room} should {sprite} stand (column and row, 0-31)?",
        ),
        (f"Put {sprite} at {x},{y}.", f"Which room should get {sprite} at {x},{y}?"),
        (f"Write {b} to the ROM.", f"At which address should I write {b}?"),
        (f"Change the bytes at {a}.", f"Which bytes should I write at {a}?"),
        (f"Read the ROM at {a}.", f"How many bytes do you want from {a} (1-256)?"),
        (f"Import {file}.", f"Which graphics sheet (0-222) should {file} replace?"),
        (f"Replace graphics sheet {sheet}.", f"Which image file should become sheet {sheet}?"),
        (f"Move sprite {n} in room {room}.", f"To which column and row (0-31) should sprite {n} of room {room} move?"),
        (f"Set tile16 {m * 9 + n} at {x},{y}.", f"On which overworld map (0-159) should tile {m * 9 + n} go?"),
        (f"Make color {n} {rgb}.", f"Which palette group and palette does color {n} belong to?"),
        (f"Change a message to '{line}'", f"Which message number (0-396) should say '{line}'?"),
        (f"Entrance {m % 133} needs a new target.", f"To which room (0-295) should entrance {m % 133} lead?"),
        (f"Hide something at {x},{y} on map {m}.", f"Which item should be hidden at {x},{y} on map {m}?"),
    )


def out_of_range(d: Dice) -> tuple[str, str]:
    """A request with an impossible number, and the refusal that names the limit."""
    room, m, sheet = d.between(296, 900), d.between(160, 400), d.between(223, 500)
    x, y, sprite, n = d.between(0, 31), d.between(0, 31), d.of(sorted(SPRITES)), d.between(257, 4096)
    far, color, message, entrance = d.between(64, 200), d.between(16, 60), d.between(397, 999), d.between(133, 255)
    good, group = d.between(0, 295), d.of(GROUPS)
    return d.pick(
        (f"Show dungeon room {room}.", f"There is no room {room}; rooms go from 0 to 295."),
        (
            f"Put {sprite} into room {room} at {x},{y}.",
            f"I cannot place {sprite}: room {room} is beyond the last room, 295.",
        ),
        (f"Read {n} bytes at {rom(d)}.", f"{n} bytes are too many for one read; the limit is 256."),
        (f"Set tile16 {n} on map {m} at {x},{y}.", f"Map {m} does not exist; overworld maps go from 0 to 159."),
        (f"Load {d.of(IMAGES)}.png into sheet {sheet}.", f"Sheet {sheet} does not exist; sheets go from 0 to 222."),
        (
            f"Move sprite {x % 16} of room {good} to {far},{y}.",
            f"Column {far} is outside room {good}; columns go from 0 to 31.",
        ),
        (
            f"Set color {color} of {group} palette {y % 20} to #00{d.between(16, 255):02X}00.",
            f"A palette has colors 0 to 15, so color {color} cannot be set.",
        ),
        (f"Message {message} should say '{d.of(LINES)}'", f"There is no message {message}; the last one is 396."),
        (
            f"Entrance {entrance} should lead to room {good}.",
            f"Entrance {entrance} does not exist; entrances go from 0 to 132.",
        ),
        (
            f"Delete sprite {color} in room {good}.",
            f"A room has at most 16 sprites (0-15), so there is no sprite {color} in room {good}.",
        ),
    )
