"""The small ROM editing interface that the tool sample is about, defined here and written to yaze_api.json."""

from typing import Any

ADDRESS = {"type": "string", "pattern": "^0x[0-9A-F]{6}$", "description": "SNES address, six hex digits"}
HEX_BYTES = {"type": "string", "pattern": "^[0-9A-F]{2}( [0-9A-F]{2})*$", "description": "hex bytes with spaces"}
ROOM = {"type": "integer", "minimum": 0, "maximum": 295, "description": "dungeon room"}
MAP = {"type": "integer", "minimum": 0, "maximum": 159, "description": "overworld map"}
SPRITE = {"type": "string", "pattern": "^0x[0-9A-F]{2}$", "description": "sprite number, two hex digits"}
GROUPS = ("overworld_main", "dungeon_main", "sprites", "armor", "sword", "shield", "hud")
ITEMS = ("green_rupee", "blue_rupee", "heart", "bomb", "arrow", "small_magic", "small_key", "fairy")
CHECKS = ("checksum", "pointers", "freespace", "sprites", "messages")


def integer(low: int, high: int, description: str) -> dict[str, Any]:
    """The schema of a whole number in a range."""
    return {"type": "integer", "minimum": low, "maximum": high, "description": description}


def choice(options: tuple[str, ...], description: str) -> dict[str, Any]:
    """The schema of one word out of several."""
    return {"type": "string", "enum": list(options), "description": description}


def function(
    name: str, description: str, optional: tuple[str, ...] = (), **parameters: dict[str, Any]
) -> dict[str, Any]:
    """One function with the schema of its arguments; all of them are required but the optional ones."""
    return {
        "name": name,
        "description": description,
        "parameters": {
            "type": "object",
            "properties": parameters,
            "required": [key for key in parameters if key not in optional],
            "additionalProperties": False,
        },
    }


PATH = {"type": "string", "pattern": "^[a-z0-9_]+\\.[a-z0-9]+$", "description": "file name in the project folder"}
TILE_AT = integer(0, 63, "tile position")

API: list[dict[str, Any]] = [
    function("read_rom", "Read bytes.", address=ADDRESS, length=integer(1, 256, "bytes to read")),
    function("write_rom", "Write bytes.", address=ADDRESS, bytes=HEX_BYTES),
    function(
        "find_pattern",
        "List the addresses where a byte pattern occurs; ?? matches any byte.",
        optional=("bank",),
        pattern={
            "type": "string",
            "pattern": "^([0-9A-F]{2}|\\?\\?)( ([0-9A-F]{2}|\\?\\?))*$",
            "description": "hex bytes with spaces, ?? for any",
        },
        bank={"type": "string", "pattern": "^0x[0-9A-F]{2}$", "description": "search this bank only"},
    ),
    function("get_room", "Header, objects and sprites of a dungeon room.", room=ROOM),
    function(
        "set_room_object",
        "Add an object to a dungeon room.",
        room=ROOM,
        object={"type": "string", "pattern": "^0x[0-9A-F]{3}$", "description": "object number, three hex digits"},
        x=TILE_AT,
        y=TILE_AT,
        size=integer(0, 15, "object size"),
        layer=integer(0, 2, "background layer"),
    ),
    function(
        "place_sprite", "Add a sprite to a dungeon room.", room=ROOM, sprite=SPRITE, x=integer(0, 31,
        "16-pixel column"),
        y=integer(0, 31, "16-pixel row"),
    ),
    function(
        "move_sprite", "Move a sprite of a dungeon room.", room=ROOM, index=integer(0, 15, "place in the sprite list"),
        x=integer(0, 31, "16-pixel column"), y=integer(0, 31, "16-pixel row"),
    ),
    function("remove_sprite", "Delete a sprite of a dungeon room.", room=ROOM, index=integer(0, 15,
    "place in the sprite list")),
    function("get_palette", "Colors of a palette.", group=choice(GROUPS, "palette group"), palette=integer(0, 19,
    "palette")),
    function(
        "set_palette_color",
        "Change one color of a palette.",
        group=choice(GROUPS, "palette group"),
        palette=integer(0, 19, "palette"),
        color=integer(0, 15, "color in the palette"),
        rgb={"type": "string", "pattern": "^#[0-9A-F]{6}$", "description": "red, green, blue"},
    ),
    function(
        "set_tile16", "Put a 16x16 tile on an overworld map.", map=MAP, x=integer(0, 31, "column"), y=integer(0, 31,
        "row"),
        tile=integer(0, 4095, "tile16 number"),
    ),
    function("import_graphics", "Replace a graphics sheet by an image.", sheet=integer(0, 222, "sheet"), file=PATH),
    function(
        "add_item", "Hide an item on an overworld map.", map=MAP, item=choice(ITEMS, "item"), x=integer(0, 31,
        "column"),
        y=integer(0, 31, "row"),
    ),
    function(
        "set_message", "Replace the text of a message.", id=integer(0, 396, "message"),
        text={"type": "string", "pattern": "^[^\"\\\\]{1,90}$", "description": "new text, at most 90 characters"},
    ),
    function("set_entrance", "Make an entrance lead to a room.", entrance=integer(0, 132, "entrance"), room=ROOM),
    function("export_patch", "Write a patch against the clean ROM.", format=choice(("bps", "ips"), "patch format"),
    file=PATH),
    function(
        "validate_rom", "Check the ROM and list the problems.",
        checks={"type": "array", "items": choice(CHECKS, "check"), "minItems": 1, "description": "what to check"},
    ),
]  # fmt: skip
