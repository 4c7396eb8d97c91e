"""Conversations of several steps: follow-ups, one call that needs another's result, parallel calls, and errors."""

import json
from typing import Any

from hafs.evaluation.rom import editor

from ..dice import Dice
from .questions import Case, described_map, described_room, listed_warps, room_sprites, told_sprites, told_warps, typed

Message = dict[str, Any]


class Talk:
    """The messages of a conversation in OpenAI's format, and the tools that it calls."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.called: set[str] = set()
        self._numbers = 0

    def asks(self, text: str) -> "Talk":
        """The user says something."""
        self.messages.append({"role": "user", "content": text})
        return self

    def says(self, text: str) -> "Talk":
        """The assistant answers in words."""
        self.messages.append({"role": "assistant", "content": text})
        return self

    def calls(self, *calls: tuple[str, dict[str, Any]], learned: bool = True) -> "Talk":
        """The assistant calls tools; a wrong call is in the conversation, but not trained on."""
        listed = []
        for name, arguments in calls:
            self._numbers += 1
            self.called.add(name)
            function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
            listed.append({"id": f"call{self._numbers:05d}", "type": "function", "function": function})
        message: Message = {"role": "assistant", "content": None, "tool_calls": listed}
        self.messages.append(message if learned else message | {"weight": 0})
        return self

    def gets(self, *results: dict[str, Any]) -> "Talk":
        """The results of the last calls, in their order."""
        asked = self.messages[-1]["tool_calls"]
        for call, result in zip(asked, results, strict=True):
            content = json.dumps(result, ensure_ascii=False)
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        return self

    def case(self, case: Case) -> "Talk":
        """A question, its call, the result and the answer."""
        return self.asks(case.ask).calls((case.tool, case.arguments)).gets(case.result).says(case.answer)


def by_name(d: Dice) -> Talk:
    """A room or map is named by its label, so it is searched for first."""
    kind = d.pick("room", "overworld")
    identity, label = editor.number(kind, d), editor.name(kind, d)
    if kind == "room":
        ask, then = d.pick(
            (f"Which sprites are in {label}?", room_sprites),
            (f"Describe the room called {label}.", described_room),
            (f"Who waits in the {label}?", room_sprites),
            (f"What does {label} look like? It is a room.", described_room),
        )
    else:
        ask, then = d.pick(
            (f"List the warps of {label}.", listed_warps),
            (f"Which way leads into something on {label}?", listed_warps),
            (f"Tell me about the overworld map {label}.", described_map),
            (f"How large is {label}, and which message does it show?", described_map),
        )
    found = editor.matches(label, kind, [(kind, identity, label)])
    talk = Talk().asks(ask).calls(("resource-search", {"query": label, "type": kind})).gets(found)
    case = then(d, identity)
    return talk.calls((case.tool, case.arguments))


def behind_an_exit(d: Dice) -> Talk:
    """The exit's room comes back as a decimal number, the next tool wants hex."""
    which = editor.screen(d)
    described = editor.described_map(which, d, exits=1)
    room = f"0x{described['exits'][0]['room_id']:03X}"
    ask = d.pick(
        f"Which sprites wait behind the first exit of map {which}?",
        f"What is in the room of map {which}'s first exit?",
        f"Follow the first exit listed for map {which} and list that room's enemies.",
    )
    talk = Talk().asks(ask).calls(("overworld-describe-map", {"screen": which})).gets(described)
    talk.calls(("dungeon-list-sprites", {"room": room}))
    if d.chance(0.5):
        return talk
    inside = editor.sprites(room, d)
    return talk.gets(inside).says(told_sprites(room, inside))


def follow_up(d: Dice) -> Talk:
    """A second question that leans on the first."""
    if d.chance(0.5):
        room = editor.room(d)
        first, second = d.pick((room_sprites, described_room), (described_room, room_sprites))
        talk = Talk().case(first(d, room))
        ask = (
            d.pick("And its sprites?", "Who is in there?")
            if second is room_sprites
            else d.pick("And its doors?", "Any chests there?")
        )
        return talk.asks(ask).calls((second(d, room).tool, {"room": room}))
    one, other = editor.screen(d), editor.screen(d)
    kind = d.pick(listed_warps, described_map)
    talk = (
        Talk()
        .case(kind(d, one))
        .asks(d.pick(f"And map {typed(other, d)}?", f"The same for {typed(other, d)}, please."))
    )
    return talk.calls((kind(d, other).tool, {"screen": other}))


def side_by_side(d: Dice) -> Talk:
    """Two rooms or maps are compared with two calls at once."""
    rooms = d.chance(0.6)
    one, other = (editor.room(d), editor.room(d)) if rooms else (editor.screen(d), editor.screen(d))
    if rooms:
        results = [editor.sprites(each, d, at_least=1) for each in (one, other)]
        tool, key, count, what = "dungeon-list-sprites", "room", "total_sprites", "sprites"
    else:
        results = [editor.warps(each, d) for each in (one, other)]
        tool, key, count, what = "overworld-list-warps", "screen", "total_warps", "warps"
    noun = "room" if rooms else "map"
    ask = d.pick(
        f"Which has more {what}, {noun} {one} or {noun} {other}?",
        f"Compare the {what} of {noun}s {one} and {other}.",
        f"{noun.capitalize()} {one} against {noun} {other}: who has more {what}?",
    )
    talk = Talk().asks(ask).calls((tool, {key: one}), (tool, {key: other}))
    if d.chance(0.4):
        return talk
    a, b = (result[count] for result in results)
    more = "both have the same number" if a == b else f"{noun} {one if a > b else other} has more"
    return talk.gets(*results).says(f"{noun.capitalize()} {one} has {a} {what}, {noun} {other} has {b}: {more}.")


def no_labels(d: Dice) -> Talk:
    """The project has no label file."""
    kind = d.pick("room", "overworld", "sprite", "entrance")
    label = editor.name(kind, d)
    talk = Talk().asks(d.pick(f"Find {label}.", f"Which {kind} is {label}?", f"Search for the label {label}."))
    talk.calls(("resource-search", {"query": label})).gets({"error": "No labels file loaded"})
    return talk.says(
        f"The project has no labels loaded, so I cannot look up {label}. Load its label file, or tell me the id."
    )


def no_rom(d: Dice) -> Talk:
    """Nothing is loaded yet."""
    case = d.pick(room_sprites, described_room, described_map)(d)
    error = f"Tool '{case.tool}' requires ROM context but none is available"
    talk = Talk().asks(case.ask).calls((case.tool, case.arguments)).gets({"error": error})
    return talk.says(
        d.pick(
            "No ROM is loaded. Open one, then ask again.",
            "The editor has no ROM open, so there is nothing to read yet.",
        )
    )


def switched_off(d: Dice) -> Talk:
    """The agent's configuration does not allow the tool."""
    case = d.pick(listed_warps, described_map, room_sprites)(d)
    error = f"Tool '{case.tool}' disabled by current agent configuration"
    talk = Talk().asks(case.ask).calls((case.tool, case.arguments)).gets({"error": error})
    return talk.says(f"{case.tool} is disabled in the agent's configuration. Enable it there and ask again.")


def a_name_for_a_number(d: Dice) -> Talk:
    """A wrong call, which is not learned; its error leads to the search that should have come first."""
    label, rooms = editor.name("room", d), d.chance(0.5)
    identity = editor.room(d)
    tool = "dungeon-list-sprites" if rooms else "dungeon-describe-room"
    ask = f"What lives in {label}?" if rooms else f"Describe {label}, one of my rooms."
    talk = Talk().asks(ask).calls((tool, {"room": label}), learned=False)
    talk.gets({"error": "Invalid room ID format. Must be hex."}).calls(
        ("resource-search", {"query": label, "type": "room"})
    )
    return talk.gets(editor.matches(label, "room", [("room", identity, label)])).calls((tool, {"room": identity}))


def the_catalogue_s_name(d: Dice) -> Talk:
    """Another wrong call: the prompt catalogue of the editor says `map`, its handler wants `screen`."""
    which = editor.screen(d)
    result = editor.warps(which, d)
    case = described_map(d, which)
    talk = Talk().asks(case.ask).calls((case.tool, {"map": which}), learned=False)
    talk.gets({"error": "Missing required arguments: --screen"}).calls((case.tool, {"screen": which}))
    if d.chance(0.5):
        return talk
    talk.gets(case.result).says(case.answer).asks(d.pick("And its warps?", "Which warps are there?"))
    return talk.calls(("overworld-list-warps", {"screen": which})).gets(result).says(told_warps(f"Map {which}", result))


STEPS = (by_name, by_name, by_name, behind_an_exit, follow_up, follow_up, side_by_side)
ERRORS = (no_labels, no_rom, switched_off, a_name_for_a_number, the_catalogue_s_name)
