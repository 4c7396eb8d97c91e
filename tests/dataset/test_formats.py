import pytest

from hafs.dataset.decode import Reject
from hafs.dataset.formats import parse

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def turns(row, **options):
    return [(message.role, message.content) for message in parse(row, **options).conversation]


@pytest.mark.parametrize(("row", "name", "expected"), [
    ({"instruction": "q", "input": "", "output": "a"}, "instruction", [("user", "q"), ("assistant", "a")]),
    ({"instruction": "q", "input": None, "output": "a"}, "instruction", [("user", "q"), ("assistant", "a")]),
    ({"instruction": "q", "output": "a"}, "instruction", [("user", "q"), ("assistant", "a")]),
    ({"instruction": "q", "input": "x", "output": "a"}, "instruction", [("user", "q\n\nx"), ("assistant", "a")]),
    ({"messages": CHAT}, "messages", [("user", "q"), ("assistant", "a")]),
    ({"messages": None, "text": "t"}, "text", [("text", "t")]),
    ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "sharegpt",
     [("user", "q"), ("assistant", "a")]),
    ({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"},
                        {"from": "gpt", "value": "c"},
                        {"from": "tool", "value": ""}, {"from": "gpt", "value": "a"}]}, "sharegpt",
     [("system", "s"), ("user", "q"), ("assistant", "c"), ("tool", ""), ("assistant", "a")]),
    ({"prompt": "q", "completion": "a"}, "prompt_completion", [("user", "q"), ("assistant", "a")]),
    ({"prompt": CHAT[:1], "completion": CHAT[1:]}, "prompt_completion", [("user", "q"), ("assistant", "a")]),
    ({"text": "t"}, "text", [("text", "t")]),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, CHAT[1]]}, "messages",
     [("user", "q"), ("assistant", "a")]),
    ({"system": "s", "instruction": "q", "output": "a"}, "instruction",
     [("system", "s"), ("user", "q"), ("assistant", "a")]),
])  # fmt: skip
def test_each_format_is_recognized(row, name, expected):
    assert parse(row).format == name
    assert turns(row) == expected


def test_keys_that_the_format_does_not_use_are_metadata():
    assert parse({"instruction": "q", "output": "a", "id": 7, "tags": ["x"]}).metadata == {"id": 7, "tags": ["x"]}


def test_a_system_message_is_put_in_front_of_rows_without_one():
    assert turns({"messages": CHAT}, system="S")[0] == ("system", "S")
    own = {"messages": [{"role": "system", "content": "own"}, *CHAT]}
    assert turns(own, system="S")[0] == ("system", "own")
    assert turns({"text": "t"}, system="S") == [("text", "t")]


@pytest.mark.parametrize(("row", "reason", "says"), [
    ({}, "missing_field", "no field"),
    ({"instuction": "q", "output": "a"}, "missing_field", "did you mean 'instruction'"),
    ({"messages": None}, "missing_field", "'messages' is null"),
    ({"instruction": "q"}, "missing_field", "'output' is missing"),
    ({"instruction": "q", "output": None}, "missing_field", "'output' is null"),
    ({"instruction": "q", "output": " \n"}, "empty_field", "'output' is empty"),
    ({"instruction": "q", "output": 3}, "wrong_type", "'output' is int"),
    ({"instruction": "q", "input": [], "output": "a"}, "wrong_type", "'input' is list"),
    ({"prompt": "q"}, "missing_field", "'completion' is missing"),
    ({"text": ""}, "empty_field", "'text' is empty"),
    ({"messages": "q"}, "wrong_type", "expected a list"),
    ({"messages": []}, "empty_field", "empty list"),
    ({"messages": ["q"]}, "wrong_type", "turn 1 is str"),
    ({"messages": [{"content": "q"}]}, "missing_field", "no role"),
    ({"messages": [{"role": "user"}]}, "missing_field", "no content"),
    ({"messages": [{"role": "user", "content": ""}]}, "empty_field", "is empty"),
    ({"messages": [{"role": "narrator", "content": "q"}]}, "unknown_role", "'narrator'"),
    ({"messages": CHAT[::-1]}, "role_order", "turn 1 is assistant"),
    ({"messages": [CHAT[0], *CHAT]}, "role_order", "turn 2 is user"),
    ({"messages": [*CHAT, CHAT[0]]}, "role_order", "ends with user"),
    ({"messages": [*CHAT, {"role": "system", "content": "s"}]}, "role_order", "turn 3 is system"),
    ({"messages": CHAT[:1]}, "no_supervised_token", "nothing to learn"),
    ({"messages": [CHAT[0], {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "unsupported_field",
     "tool_calls"),
])  # fmt: skip
def test_rows_that_cannot_be_used_say_why(row, reason, says):
    found = parse(row)
    assert isinstance(found, Reject)
    assert found.reason == reason
    assert says in found.message
