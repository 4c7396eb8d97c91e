"""A fake of the YAZE editor's command line agent: runs tool calls on a made-up project and returns what they read."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from hafs.chat import Call
from hafs.evaluation.rom import editor
from hafs.evaluation.rom.dice import Dice
from hafs.evaluation.rom.editor import MAPS, ROOMS, TILES, TYPES, Result

_HEX = re.compile(r"(0x)?[0-9a-f]+", re.IGNORECASE)
_IDS = {"room": ROOMS, "overworld": MAPS}
_OTHER_IDS = 0x85
"""Ids of a kind of label that has no limit of its own."""


class BadCall(ValueError):
    """What the editor answers to a call that it does not run."""


class FakeEditor:
    """A project with labels, rooms and maps that follow from its name alone: every call returns the same each time.

    All seven tools only read, so what a call returns is all that it does. Numbers are hexadecimal text with or without
    `0x`, as in the editor, so `3d` and `0x03D` return the same.
    """

    def __init__(self, name: str = "project") -> None:
        self.name = name
        self._tools: dict[str, tuple[Callable[..., Result], str, str]] = {
            "resource-list": (self._list, "type", ""),
            "resource-search": (self._search, "query", "type"),
            "dungeon-list-sprites": (self._sprites, "room", ""),
            "dungeon-describe-room": (self._room, "room", ""),
            "overworld-find-tile": (self._tile, "tile", ""),
            "overworld-describe-map": (self._map, "screen", ""),
            "overworld-list-warps": (self._warps, "", "screen"),
        }
        """By name: what runs it, its required argument, and its optional one."""

    @property
    def tools(self) -> frozenset[str]:
        """Names of the tools."""
        return frozenset(self._tools)

    def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """What a call returns.

        Raises:
            BadCall: The editor does not run it.
        """
        if name not in self._tools:
            raise BadCall(f"Unknown tool: {name}")
        tool, required, optional = self._tools[name]
        if required and required not in arguments:
            raise BadCall(f"Missing required arguments: --{required}")
        if unknown := sorted(set(arguments) - {required, optional}):
            raise BadCall(f"Unknown argument: --{unknown[0]}")
        if any(not isinstance(value, str) for value in arguments.values()):
            raise BadCall("Arguments are text")
        return tool(**arguments)

    @cached_property
    def _labels(self) -> dict[str, dict[str, str]]:
        """By kind: ids and their labels."""
        return {kind: self._labels_of(kind) for kind in TYPES}

    def _labels_of(self, kind: str) -> dict[str, str]:
        d, names, digits = self._dice("labels", kind), editor.names(kind), 3 if kind == "room" else 2
        ids = d.some(range(_IDS.get(kind, _OTHER_IDS)), len(names))
        return {f"0x{number:0{digits}X}": name for number, name in sorted(zip(ids, names, strict=False))}

    def _dice(self, *about: str) -> Dice:
        return Dice("/".join((self.name, *about)))

    def _list(self, type: str) -> Result:
        return self._labels[_kind(type)]

    def _search(self, query: str, type: str | None = None) -> Result:
        kinds = TYPES if type is None else (_kind(type),)
        found = [(kind, key, label) for kind in kinds for key, label in self._labels[kind].items()]
        hits = [hit for hit in found if query.lower() in hit[2].lower()]
        return editor.matches(query.lower(), type, hits)

    def _sprites(self, room: str) -> Result:
        where = _number(room, ROOMS, "room ID", digits=3)
        return editor.sprites(where, self._dice("sprites", where))

    def _room(self, room: str) -> Result:
        where = _number(room, ROOMS, "room ID", digits=3)
        return editor.described_room(where, self._dice("room", where))

    def _tile(self, tile: str) -> Result:
        which = _number(tile, TILES, "tile ID", digits=3)
        return editor.tiles(which, self._dice("tile", which))

    def _map(self, screen: str) -> Result:
        which = _number(screen, MAPS, "screen ID", digits=2)
        return editor.described_map(which, self._dice("map", which))

    def _warps(self, screen: str | None = None) -> Result:
        if screen is not None:
            which = _number(screen, MAPS, "screen ID", digits=2)
            return editor.warps(which, self._dice("warps", which))
        each = [self._warps(f"0x{number:02X}")["warps"] for number in range(MAPS)]
        return {"screen_filter": "all", "total_warps": sum(map(len, each)), "warps": [w for some in each for w in some]}


def same_effect(expected: Sequence[Call], given: Sequence[Call], project: FakeEditor) -> bool:
    """Whether the given calls run, and return what the expected ones return, in any order; none for none."""
    try:
        return _returned(given, project) == _returned(expected, project)
    except BadCall:
        return False


def _returned(calls: Sequence[Call], project: FakeEditor) -> list[str]:
    return sorted(json.dumps(project.run(call.name, call.arguments)) for call in calls)


def _kind(text: str) -> str:
    if text not in TYPES:
        raise BadCall(f"Unknown resource type: {text}")
    return text


def _number(text: str, count: int, what: str, *, digits: int) -> str:
    """A number in the editor's spelling.

    Raises:
        BadCall: It is not hexadecimal, or too large.
    """
    if not _HEX.fullmatch(text):
        raise BadCall(f"Invalid {what} format. Must be hex.")
    number = int(text, 16)
    if number >= count:
        raise BadCall(f"Invalid {what}: {text}. The last one is 0x{count - 1:0{digits}X}.")
    return f"0x{number:0{digits}X}"
