"""The seven tools that the editor's command line agent offers for reading a ROM, as its command handlers take them.

Names and arguments are those of `z3ed` in scawful/yaze (`src/cli/handlers`, read at commit d02784a7); the descriptions
were written for this sample. All arguments are strings; numbers are read as hexadecimal, with or without `0x`. The
agent adds `--format=json` to each call itself, so no tool here has a `format`.
"""

from typing import Any

from hafs.evaluation.rom.editor import MAPS, ROOMS, TILES, TYPES

__all__ = ["API", "MAPS", "ROOMS", "TILES", "TYPES", "offered"]


def _text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": said, **more}


def _tool(name: str, said: str, required: tuple[str, ...], **properties: dict[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = list(required)
    return {"name": name, "description": said, "parameters": parameters}


_ROOM = _text("room in hex, 0x000-0x127")
_SCREEN = "overworld map in hex, 0x00-0x9F"
API = (
    _tool(
        "resource-list",
        "List the project's labels of one type.",
        ("type",),
        type=_text("kind of label", enum=list(TYPES)),
    ),
    _tool(
        "resource-search",
        "Find labels that contain a text.",
        ("query",),
        query=_text("part of a label"),
        type=_text("search this kind alone", enum=list(TYPES)),
    ),
    _tool("dungeon-list-sprites", "List the sprites of a dungeon room.", ("room",), room=_ROOM),
    _tool("dungeon-describe-room", "Properties, doors, stairs and chests of a dungeon room.", ("room",), room=_ROOM),
    _tool("overworld-find-tile", "Find all places of a tile16.", ("tile",), tile=_text("tile16 in hex, 0x000-0xEA7")),
    _tool(
        "overworld-describe-map",
        "Size, palettes, message, entrances and exits of an overworld map.",
        ("screen",),
        screen=_text(_SCREEN),
    ),
    _tool(
        "overworld-list-warps",
        "List the entrances and holes of an overworld map, or of all maps.",
        (),
        screen=_text(f"{_SCREEN}; all maps if left out"),
    ),
)
"""The tools, as names, descriptions and JSON schemas."""


def offered(names: set[str]) -> list[dict[str, Any]]:
    """Some of the tools in OpenAI's format, in the order of `API`."""
    return [{"type": "function", "function": tool} for tool in API if tool["name"] in names]
