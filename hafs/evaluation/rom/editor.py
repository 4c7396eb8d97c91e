"""What the YAZE editor's seven tools answer, over invented projects; shortened to what the tool sample talks about."""

from typing import Any

from hafs.evaluation.rom.dice import Dice

Result = dict[str, Any]

TYPES = ("overworld", "dungeon", "entrance", "room", "sprite", "palette", "item")
"""Kinds of label."""
ROOMS, MAPS, TILES = 0x128, 0xA0, 0xEA8
"""How many there are; numbers start at 0."""

SPRITES = {
    "0x0D": "Buzzblob",
    "0x12": "Moblin",
    "0x15": "Antifairy",
    "0x18": "Mini Moldorm",
    "0x24": "Blue Bari",
    "0x41": "Blue Guard",
    "0x42": "Green Guard",
    "0x43": "Red Spear Guard",
    "0x8B": "Gibdo",
    "0xA7": "Stalfos",
    "0xE3": "Fairy",
    "0xE4": "Small Key",
}
_ADJECTIVES = (
    "Mossy",
    "Sunken",
    "Quiet",
    "Broken",
    "Hollow",
    "Amber",
    "Frozen",
    "Crooked",
    "Silver",
    "Windy",
    "Lost",
    "Burnt",
    "Upper",
    "Lower",
    "Old",
    "Hidden",
)
_PLACES = {
    "room": ("Cellar", "Hall", "Vault", "Gallery", "Stairway", "Pantry", "Shrine", "Armory", "Cistern", "Landing"),
    "overworld": ("Marsh", "Ridge", "Orchard", "Harbor", "Plateau", "Crossing", "Clearing", "Pass", "Shore", "Ruins"),
    "dungeon": ("Keep", "Temple", "Mine", "Tower", "Sanctum"),
    "entrance": ("Gate", "Door", "Trapdoor", "Well", "Cave Mouth"),
    "sprite": ("Sentry", "Slime", "Merchant", "Bat", "Statue"),
    "palette": ("Dusk", "Dawn", "Cave Light", "Lagoon", "Autumn"),
    "item": ("Lantern", "Charm", "Key", "Bottle", "Whistle"),
}
_DOORS = ("Normal Door", "Shutter Door", "Small Key Door", "Bombable Door", "Exit Door")
_ITEMS = {
    "0x0C": "Blue Boomerang",
    "0x24": "Small Key",
    "0x25": "Compass",
    "0x32": "Big Key",
    "0x33": "Map",
    "0x36": "Red Rupee",
    "0x44": "10 Arrows",
}


def room(d: Dice) -> str:
    """A dungeon room."""
    return f"0x{d.between(0, ROOMS - 1):03X}"


def screen(d: Dice) -> str:
    """An overworld map."""
    return f"0x{d.between(0, MAPS - 1):02X}"


def tile(d: Dice) -> str:
    """A tile16."""
    return f"0x{d.between(0, TILES - 1):03X}"


def number(kind: str, d: Dice) -> str:
    """The id of something that has a label."""
    return {"room": room, "overworld": screen}.get(kind, lambda d: f"0x{d.between(0, 0x3F):02X}")(d)


def name(kind: str, d: Dice) -> str:
    """An invented label."""
    return f"{d.of(_ADJECTIVES)} {d.of(_PLACES[kind])}"


def names(kind: str) -> list[str]:
    """Every label that `name` may invent."""
    return [f"{adjective} {place}" for adjective in _ADJECTIVES for place in _PLACES[kind]]


def labels(kind: str, d: Dice) -> Result:
    """resource-list: labels by id."""
    found = {number(kind, d): name(kind, d) for _ in range(d.between(2, 5))}
    return dict(sorted(found.items()))


def matches(query: str, kind: str | None, found: list[tuple[str, str, str]]) -> Result:
    """resource-search: `found` are kinds, ids and labels."""
    listed = [f"{where}:{identity} = {label}" for where, identity, label in found]
    return {"query": query, "search_type": kind or "all", "matches": listed, "total_matches": len(listed)}


def sprites(where: str, d: Dice, *, at_least: int = 0) -> Result:
    """dungeon-list-sprites."""
    listed = [
        {"sprite_id": key, "name": SPRITES[key], "x": d.between(1, 30), "y": d.between(1, 30), "layer": d.pick(0, 0, 1)}
        for key in (d.of(sorted(SPRITES)) for _ in range(d.between(at_least, 4)))
    ]
    return {"room_id": int(where, 16), "total_sprites": len(listed), "status": "success", "sprites": listed}


def described_room(where: str, d: Dice) -> Result:
    """dungeon-describe-room."""
    names = d.some(("North", "South", "West", "East"), d.between(1, 3))
    doors = [{"index": k, "direction": way, "type": d.of(_DOORS)} for k, way in enumerate(names)]
    items = d.some(sorted(_ITEMS), d.between(0, 2))
    chests = [{"item_id": key, "item_name": _ITEMS[key], "is_big_chest": d.chance(0.2)} for key in items]
    places = [(d.between(4, 58), d.between(4, 58)) for _ in range(d.pick(0, 1, 1, 2))]
    stairs = [{"tile_x": x, "tile_y": y, "label": f"To room {d.between(0, ROOMS - 1)}"} for x, y in places]
    properties = {
        "blockset": d.between(0, 23),
        "spriteset": d.between(0, 63),
        "palette": d.between(0, 40),
        "layout": d.between(0, 7),
        "tag1": d.between(0, 63),
        "object_count": d.between(12, 90),
    }
    return {
        "room_id": int(where, 16),
        "status": "success",
        "properties": properties,
        "doors": doors,
        "staircases": stairs,
        "chests": chests,
    }


def world(where: int) -> str:
    """The world of an overworld map."""
    return "Light" if where < 0x40 else "Dark" if where < 0x80 else "Special"


def tiles(which: str, d: Dice) -> Result:
    """overworld-find-tile."""
    listed = [
        {"map_id": f"0x{where:02X}", "world": world(where), "local_x": d.between(0, 31), "local_y": d.between(0, 31)}
        for where in sorted(d.between(0, MAPS - 1) for _ in range(d.pick(0, 1, 2, 3, 4)))
    ]
    return {"tile_id": which, "matches_found": len(listed), "matches": listed}


def described_map(which: str, d: Dice, *, exits: int = 0) -> Result:
    """overworld-describe-map."""
    where = int(which, 16)
    index, large = where % 0x40, d.chance(0.3)
    return {
        "screen_id": which,
        "world": world(where),
        "grid": {"x": index % 8, "y": index // 8, "local_index": index},
        "size": {"label": "Large" if large else "Small", "is_large": large, "parent": which},
        "message_id": f"0x{d.between(0, 0x18C):04X}",
        "area_graphics": f"0x{d.between(0x20, 0x5F):02X}",
        "area_palette": f"0x{d.between(0, 0x1F):02X}",
        "entrances": [
            {
                "entrance_id": d.between(0, 132),
                "x": 16 * d.between(0, 255),
                "y": 16 * d.between(0, 255),
                "is_hole": d.chance(0.15),
            }
            for _ in range(d.between(0, 2))
        ],
        "exits": [
            {"room_id": d.between(16, ROOMS - 1), "x": d.between(0, 4095), "y": d.between(0, 4095)}
            for _ in range(max(exits, d.between(0, 1)))
        ],
    }


def warps(which: str | None, d: Dice) -> Result:
    """overworld-list-warps."""
    listed = []
    for _ in range(d.pick(0, 1, 2, 3, 3)):
        where, hole = which or screen(d), d.chance(0.25)
        listed.append(
            {
                "type": "hole" if hole else "entrance",
                "map_id": where,
                "world": world(int(where, 16)),
                "position": f"({16 * d.between(0, 255)},{16 * d.between(0, 255)})",
                "entrance_id": f"0x{d.between(0, 132):02X}",
                "entrance_name": name("entrance", d),
                "deleted": d.chance(0.1),
                "is_hole": hole,
            }
        )
    return {"screen_filter": which or "all", "total_warps": len(listed), "warps": listed}
