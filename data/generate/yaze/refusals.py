"""Requests that no call answers: a number is out of range, something is missing, or the tools cannot do it."""

from hafs.evaluation.rom import editor

from ..dice import Dice
from .api import MAPS, ROOMS, TILES
from .questions import typed

Said = tuple[str, str]


def out_of_range(d: Dice) -> Said:
    """An impossible number, and the limit."""
    room, screen, tile = d.between(ROOMS, 0x3FF), d.between(MAPS, 0xFF), d.between(TILES, 0x1FFF)
    return d.pick(
        (f"Which sprites are in room 0x{room:03X}?", f"There is no room 0x{room:03X}; rooms go from 0x000 to 0x127."),
        (f"Describe dungeon room 0x{room:03X}.", f"Room 0x{room:03X} does not exist; the last one is 0x127."),
        (f"List the warps on map 0x{screen:02X}.", f"There is no map 0x{screen:02X}; maps go from 0x00 to 0x9F."),
        (f"How big is map 0x{screen:02X}?", f"Map 0x{screen:02X} does not exist; the last one is 0x9F."),
        (f"Find tile16 0x{tile:04X}.", f"There is no tile16 0x{tile:04X}; they go from 0x000 to 0xEA7."),
    )


def missing(d: Dice) -> Said:
    """A request that leaves out what the tool needs, and the question that asks for it."""
    who = d.of(sorted(editor.SPRITES.values()))
    return d.pick(
        (f"Is there a {who} in that room?", f"Which room should I look in for a {who}?"),
        (
            f"Which tile is the one next to the {d.pick('fence', 'well', 'sign', 'bridge')}?",
            "I search tiles by number. Which tile16 do you mean, in hex?",
        ),
        (
            f"How many {who}s are in the room I made {d.pick('today', 'yesterday', 'last week')}?",
            "What is the room's number or label?",
        ),
        (
            f"Which message does the map with the {d.pick('lake', 'two caves', 'graveyard', 'windmill')} show?",
            "Which map is that, by number or label?",
        ),
    )


def writing(d: Dice) -> Said:
    """A change, which none of the tools makes."""
    who = d.of(sorted(editor.SPRITES.values()))
    room, screen, tile = typed(editor.room(d), d), typed(editor.screen(d), d), typed(editor.tile(d), d)
    return d.pick(
        (
            f"Put a {who} into room {room}.",
            f"My tools only read. Place the {who} in the dungeon editor; I can list the sprites before and after.",
        ),
        (
            f"Remove the {who} from room {room}.",
            "I cannot remove sprites, my tools only read. I can list them, so that you find the entry.",
        ),
        (
            f"Paint tile {tile} on map {screen}.",
            "I cannot change tiles, my tools only read. I can show where the tile is used.",
        ),
        (
            f"Rename the {editor.name('room', d)} to {editor.name('room', d)}.",
            "I can read labels, not change them. Rename it in the project's label file.",
        ),
        (
            f"Move the exit of map {screen} to room {room}.",
            "I cannot move exits, my tools only read. I can describe the map first.",
        ),
    )


def not_offered(d: Dice) -> tuple[str, str, str]:
    """A question for a tool that this conversation does not offer, and the tool's name."""
    room, screen, tile = typed(editor.room(d), d), typed(editor.screen(d), d), typed(editor.tile(d), d)
    return d.pick(
        (f"List the warps on map {screen}.", "None of my tools here lists warps.", "overworld-list-warps"),
        (f"Where is tile {tile} used?", "None of my tools here searches for tiles.", "overworld-find-tile"),
        (f"Which doors does room {room} have?", "None of my tools here describes rooms.", "dungeon-describe-room"),
        (
            f"Which sprites are in room {room}?",
            "None of my tools here lists the sprites of a room.",
            "dungeon-list-sprites",
        ),
        (f"Which area palette has map {screen}?", "None of my tools here describes maps.", "overworld-describe-map"),
    )


def known(d: Dice) -> Said:
    """A question about the tools, answered without a call."""
    value = d.between(16, ROOMS - 1)
    return d.pick(
        (f"Which number do I type for room {value} (decimal)?", f"0x{value:03X}: the tools read numbers as hex."),
        (
            f"Is room {value:x} the same as room 0x{value:x}?",
            f"Yes, numbers are read as hex with or without 0x: room 0x{value:03X}.",
        ),
        (
            f"In which world is a map with the number 0x{value % MAPS:02X}?",
            f"0x{value % MAPS:02X} is in the {editor.world(value % MAPS)} World; no tool is needed for that.",
        ),
    )


REFUSALS = (out_of_range, missing, writing, writing, known)
