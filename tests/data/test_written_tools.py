"""Rows of published datasets whose tools and calls are text, in the forms of those datasets."""

import json

import pytest

from hafs.data.decode import Reject
from hafs.data.formats import parse

PARAMETERS = {"type": "dict", "properties": {"room": {"type": "int"}, "deep": {"type": "bool"}}, "required": ["room"]}
ROOM = {"name": "get_room", "description": "Describe a room.", "parameters": PARAMETERS}
LIST = {"name": "List Rooms", "description": "List them.", "parameters": {"type": "object", "properties": {}}}
CALL = {"name": "get_room", "arguments": {"room": 12, "deep": True}}

TOOLACE = {
    "system": "You compose functions.\nHere is a list of functions in JSON format that you can invoke:\n"
    f"{json.dumps([ROOM, LIST])}. \nShould you decide to return the function call(s), \n"
    "Put it in the format of [f(a=b)]\n",
    "conversations": [
        {"from": "user", "value": "What is in room 12?"},
        {"from": "assistant", "value": "[get_room(room=12, deep=true)]"},
        {"from": "tool", "value": '[{"name": "get_room", "results": {"doors": 2}}]'},
        {"from": "assistant", "value": "Room 12 has two doors."},
    ],
}
GLAIVE = {
    "system": "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
    f"{json.dumps(ROOM, indent=4)}\n{json.dumps(LIST)}",
    "chat": "USER: What is in room 12?\n\n\nASSISTANT: <functioncall> {\"name\": \"get_room\", \"arguments\": "
    "'{\"room\": 12, \"deep\": true}'} <|endoftext|>\n\n\nFUNCTION RESPONSE: {\"doors\": 2}\n\n\n"
    "ASSISTANT: Room 12 has two doors. <|endoftext|>\n\n\n",
}  # fmt: skip
TOOLBENCH = {
    "id": "1",
    "conversations": [
        {"from": "system", "value": "You are an agent. Specifically, you have access to the following APIs: "
                                    f"{[ROOM, LIST]!r}"},
        {"from": "user", "value": "What is in room 12?"},
        {"from": "assistant", "value": "\nThought: I look.\nAction: get_room\n"
                                       "Action Input: {\"room\": 12, \"deep\": true}"},
        {"from": "function", "value": '{"doors": 2}'},
        {"from": "assistant", "value": "Room 12 has two doors."},
    ],
}  # fmt: skip
NEMOTRON_TEXT = {
    "system_prompt": f"Use tools. <AVAILABLE_TOOLS>{json.dumps([ROOM, LIST])}</AVAILABLE_TOOLS>",
    "input": [
        {"role": "user", "content": "What is in room 12?"},
        {"role": "assistant", "content": f"<TOOLCALL>[{json.dumps(CALL)}]</TOOLCALL>"},
        {"role": "tool", "content": '{"doors": 2}'},
    ],
    "output": "Room 12 has two doors.",
}
NEMOTRON = {
    "uuid": "u", "metadata": json.dumps({"tools": [{"type": "function", "function": ROOM}]}),
    "messages": [
        {"role": "user", "content": "What is in room 12?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "c1", "type": "function", "function": CALL | {"arguments": json.dumps(CALL["arguments"])}}]},
        {"role": "tool", "content": '{"doors": 2}', "tool_call_id": "c1"},
        {"role": "assistant", "content": "Room 12 has two doors."},
    ],
}  # fmt: skip
SMOLTALK2 = {
    "chat_template_kwargs": {
        "enable_thinking": False, "python_tools": [], "xml_tools": [json.dumps(ROOM), json.dumps(LIST)]},
    "messages": [
        {"role": "user", "content": "What is in room 12?"},
        {"role": "assistant", "content": f"I look.\n<tool_call>\n{json.dumps(CALL)}\n</tool_call>"},
        {"role": "tool", "content": '{"doors": 2}'},
        {"role": "assistant", "content": "Room 12 has two doors."},
    ],
    "source": "sample",
}  # fmt: skip
ROWS = {"ToolACE": TOOLACE, "glaive": GLAIVE, "ToolBench": TOOLBENCH, "Nemotron, text": NEMOTRON_TEXT,
        "Nemotron": NEMOTRON, "SmolTalk 2": SMOLTALK2}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_tools_and_calls_are_values_and_no_longer_text(name):
    found = parse(json.loads(json.dumps(ROWS[name])))
    assert not isinstance(found, Reject), found
    turns = [message for message in found.conversation if message.role != "system"]
    assert [message.role for message in turns] == ["user", "assistant", "tool", "assistant"]
    tools = found.conversation[0].tools
    assert tools[0]["function"]["name"] == "get_room"
    assert tools[0]["function"]["parameters"]["type"] == "object"
    assert tools[0]["function"]["parameters"]["properties"]["deep"]["type"] == "boolean"
    (call,) = turns[1].calls
    assert (call.name, call.arguments) == ("get_room", {"room": 12, "deep": True})
    assert turns[1].content in ("", "I look.")
    assert "doors" in turns[2].content and turns[3].content == "Room 12 has two doors."
    leading = [message.content for message in found.conversation if message.role == "system"]
    assert not {"tools", "metadata", "chat_template_kwargs", "system", "system_prompt"} & set(found.unused)
    assert all("get_room" not in text and "SYSTEM:" not in text for text in leading)


def test_calls_without_tags_count_only_with_a_known_tool():
    row = json.loads(json.dumps(TOOLACE))
    row["conversations"][1]["value"] = "[see(room=12)] is a citation, [1](2) a link]"
    row["conversations"] = [row["conversations"][0], row["conversations"][1]]
    found = parse(row)
    assert found.conversation[-1].calls == ()
    assert found.conversation[-1].content == row["conversations"][1]["value"]
    several = json.loads(json.dumps(TOOLACE))
    several["conversations"][1]["value"] = '[get_room(room=1), List Rooms(), get_room(room=2, tags=["a", null])]'
    calls = parse(several).conversation[2].calls
    assert [(call.name, call.arguments) for call in calls] == [
        ("get_room", {"room": 1}), ("List Rooms", {}), ("get_room", {"room": 2, "tags": ["a", None]}),
    ]  # fmt: skip


def test_a_call_that_is_not_json_is_rejected():
    row = json.loads(json.dumps(SMOLTALK2))
    row["messages"][1]["content"] = "<tool_call>{'name': 1</tool_call>"
    assert parse(row).reason == "bad_call"


def test_a_system_message_that_only_speaks_of_functions_stays_whole():
    text = "You explain functions. <tools> are tags."
    row = {
        "messages": [
            {"role": "system", "content": text},
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": "!"},
        ]
    }
    found = parse(row)
    assert found.conversation[0].content == text and found.conversation[0].tools == ()
