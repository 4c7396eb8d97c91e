"""Numbers the deltas of tool calls for hosts that leave out the index or the id."""

import uuid
from collections.abc import Mapping
from typing import Any


class ToolCallNumbers:
    """Gives each delta of one stream the index of its call.

    A delta with an index keeps it. Otherwise a new id, or a name without an id, begins a new call, and any other delta
    belongs to the last call. A call without an id gets one.
    """

    def __init__(self) -> None:
        self._index = -1
        self._ids: dict[str, int] = {}

    def of(self, delta: Mapping[str, Any]) -> tuple[int, str | None]:
        """The index of a delta, and the id if the delta begins a call."""
        told, given = delta.get("index"), delta.get("id") or None
        named = bool((delta.get("function") or {}).get("name"))
        if isinstance(told, int):
            begins = told not in self._ids.values()
            index = told
        elif given is not None and given in self._ids:
            begins, index = False, self._ids[given]
        else:
            begins = given is not None or named or self._index < 0
            index = self._index + 1 if begins else self._index
        self._index = index
        if begins:
            given = given or f"call_{uuid.uuid4().hex[:16]}"
            self._ids[given] = index
        return index, given if begins else None
