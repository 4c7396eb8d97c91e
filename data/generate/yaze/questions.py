"""What people ask, the call that looks it up, what the editor returns, and the answer that follows from that."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hafs.evaluation.rom import editor

from ..dice import Dice
from .api import TYPES

PLURAL = {
    "overworld": "overworld maps",
    "dungeon": "dungeons",
    "entrance": "entrances",
    "room": "rooms",
    "sprite": "sprites",
    "palette": "palettes",
    "item": "items",
}
_WHY = ("", "", "", " I want to rename one.", " I forgot how I called them.", " It is for the manual.")


class Case(NamedTuple):
    """A question that one call answers."""

    ask: str
    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any]
    answer: str


def typed(value: str, d: Dice) -> str:
    """A number as somebody types it."""
    plain = int(value, 16)
    return d.pick(value, value, f"0x{plain:X}", f"${plain:X}", f"{plain} (decimal)")


def counted(many: int, one: str, several: str | None = None) -> str:
    """A number with its noun."""
    return f"{many or 'no'} {one if many == 1 else several or one + 's'}"


def listed(parts: list[str]) -> str:
    """Parts as a phrase."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def labels(d: Dice) -> Case:
    kind = d.of(TYPES)
    found = editor.labels(kind, d)
    identity, label = d.of(list(found.items()))
    some = PLURAL[kind]
    if d.chance(0.5):
        ask = d.pick(
            f"Which {some} have a label in this project?",
            f"List my labelled {some}.",
            f"Show all {some} with names.",
            f"what {some} did I name so far",
            f"Give me the names of the {some}.",
        ) + d.of(_WHY)
        answer = f"{counted(len(found), 'label')}: {listed([f'{text} ({key})' for key, text in found.items()])}."
    else:
        ask = d.pick(
            f"What is {kind} {identity} called in my project?",
            f"Look through the labels of the {some}: what is {identity}?",
            f"Did I give {kind} {identity} a name?",
        )
        answer = f"{identity} is labelled {label}."
    return Case(ask, "resource-list", {"type": kind}, found, answer)


def search(d: Dice) -> Case:
    kind = d.of(TYPES)
    identity, label = editor.number(kind, d), editor.name(kind, d)
    query = d.pick(label, label.split()[0], label.split()[0].lower(), label.split()[-1])
    narrow = d.chance(0.5)
    hits = [(kind, identity, label)] if d.chance(0.8) else []
    if narrow:
        ask = d.pick(
            f"Which {kind} is named {query}?", f"Find the {kind} '{query}'.", f"Search the {PLURAL[kind]} for {query}."
        )
    else:
        ask = d.pick(
            f"Is there anything called {query}?",
            f"Search all labels for '{query}'.",
            f"Where do I use the name {query}?",
        )
    arguments = {"query": query, "type": kind} if narrow else {"query": query}
    result = editor.matches(query, kind if narrow else None, hits)
    answer = f"{label} is {kind} {identity}." if hits else f"No label contains '{query}'."
    return Case(ask, "resource-search", arguments, result, answer)


def room_sprites(d: Dice, room: str | None = None) -> Case:
    where = room or editor.room(d)
    result = editor.sprites(where, d)
    said = typed(where, d)
    ask = d.pick(
        f"Which sprites are in room {said}?",
        f"Who waits in dungeon room {said}?",
        f"List the enemies of room {said}.",
        f"sprites room {said}",
        f"How many sprites does room {said} have?",
        f"Show me the sprite placement in room {said}.",
    )
    return Case(ask, "dungeon-list-sprites", {"room": where}, result, told_sprites(where, result))


def told_sprites(where: str, result: dict[str, Any]) -> str:
    """The sprites of a room as a sentence."""
    each = [f"{s['name']} ({s['sprite_id']}) at {s['x']},{s['y']}" for s in result["sprites"]]
    count = counted(len(each), "sprite")
    return f"Room {where} has {count}: {listed(each)}." if each else f"Room {where} has no sprites."


def _doors(where: str, result: dict[str, Any]) -> str:
    doors = [f"{door['direction'].lower()} ({door['type']})" for door in result["doors"]]
    return f"Room {where} has {counted(len(doors), 'door')}: {listed(doors)}."


def _chests(where: str, result: dict[str, Any]) -> str:
    chests = [f"{c['item_name']}{' in a big chest' if c['is_big_chest'] else ''}" for c in result["chests"]]
    count = counted(len(chests), "chest")
    return f"Room {where} has {count}: {listed(chests)}." if chests else f"Room {where} has no chests."


def _property(key: str) -> Callable[[str, dict[str, Any]], str]:
    return lambda where, result: f"The {key} of room {where} is {result['properties'][key]}."


def described_room(d: Dice, room: str | None = None) -> Case:
    where = room or editor.room(d)
    result, said = editor.described_room(where, d), typed(where, d)
    key = d.pick("blockset", "spriteset", "palette", "layout")
    asks = {
        d.pick(f"Which doors does room {said} have?", f"Where can I leave room {said}?"): _doors,
        d.pick(f"What is in the chests of room {said}?", f"Does room {said} hold any treasure?"): _chests,
        d.pick(f"Which {key} does room {said} use?", f"room {said}: {key}?"): _property(key),
        f"Where do the stairs of room {said} lead?": _stairs,
    }
    ask = d.of(list(asks))
    return Case(ask, "dungeon-describe-room", {"room": where}, result, asks[ask](where, result))


def _stairs(where: str, result: dict[str, Any]) -> str:
    stairs = [f"{each['label'].lower()} from {each['tile_x']},{each['tile_y']}" for each in result["staircases"]]
    return f"The stairs of room {where} lead {listed(stairs)}." if stairs else f"Room {where} has no stairs."


def found_tiles(d: Dice) -> Case:
    which = editor.tile(d)
    result, said = editor.tiles(which, d), typed(which, d)
    ask = d.pick(
        f"Where do I use tile16 {said}?",
        f"Find tile {said} on the overworld.",
        f"Is tile16 {said} still in use?",
        f"On which maps is tile {said}?",
        f"every place of tile {said} please",
    )
    places = [f"map {m['map_id']} at {m['local_x']},{m['local_y']}" for m in result["matches"]]
    count = counted(len(places), "place")
    answer = f"Tile {which} is in {count}: {listed(places)}." if places else f"Tile {which} is on no map."
    return Case(ask, "overworld-find-tile", {"tile": which}, result, answer)


def described_map(d: Dice, screen: str | None = None) -> Case:
    which = screen or editor.screen(d)
    result, said = editor.described_map(which, d), typed(which, d)
    size = result["size"]["label"].lower()
    entrances = counted(len(result["entrances"]), "entrance")
    grid = result["grid"]
    place = f"Map {which} is in the {result['world']} World, column {grid['x']}, row {grid['y']}."
    asks = {
        d.pick(
            f"Which message does map {said} show?", f"Message id of overworld map {said}?"
        ): f"Map {which} uses message {result['message_id']}.",
        d.pick(f"Is map {said} a large area?", f"How big is overworld map {said}?"): f"Map {which} is a {size} area.",
        d.pick(
            f"What palette has area {said}?", f"area palette of map {said}"
        ): f"The area palette of map {which} is {result['area_palette']}.",
        d.pick(
            f"How many entrances and exits are on map {said}?", f"Count the ways in and out of map {said}."
        ): f"Map {which} has {entrances} and {counted(len(result['exits']), 'exit')}.",
        f"In which world is map {said}, and where on the grid?": place,
    }
    ask = d.of(list(asks))
    return Case(ask, "overworld-describe-map", {"screen": which}, result, asks[ask])


def listed_warps(d: Dice, screen: str | None = None) -> Case:
    which = screen or (None if d.chance(0.12) else editor.screen(d))
    result = editor.warps(which, d)
    if which is None:
        where, on = d.pick("in the whole overworld", "on all maps"), "The overworld"
    else:
        where, on = d.pick(f"on map {typed(which, d)}", f"of overworld map {typed(which, d)}"), f"Map {which}"
    ask = d.pick(
        f"List the warps {where}.",
        f"Which entrances and holes are {where}?",
        f"Where can I enter something {where}?",
        f"Any holes {where}?",
        f"Count the entrances {where}.",
    ) + (d.of(_WHY[:3]) if which else d.pick("", " Names, please."))
    return Case(ask, "overworld-list-warps", {"screen": which} if which else {}, result, told_warps(on, result))


def told_warps(on: str, result: dict[str, Any]) -> str:
    """Warps as a sentence; deleted ones are named as such."""
    each = [
        f"{w['entrance_name']} ({w['type']} {w['entrance_id']}{', deleted' if w['deleted'] else ''}) at {w['position']}"
        for w in result["warps"]
    ]
    return f"{on} has {counted(len(each), 'warp')}: {listed(each)}." if each else f"{on} has no warps."


QUESTIONS = (labels, search, room_sprites, described_room, found_tiles, described_map, listed_warps)
"""One for each tool."""
