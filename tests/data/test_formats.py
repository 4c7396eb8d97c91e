import pytest

from hafs.data.decode import Reject
from hafs.data.formats import parse

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


SECOND = [{"role": "user", "content": "q2"}, {"role": "assistant", "content": "bad"}]


@pytest.mark.parametrize("word", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"loss": False}])
def test_an_answer_that_says_so_is_context(word):
    first = [CHAT[0], CHAT[1] | word, SECOND[0], SECOND[1]]
    assert [m.learned for m in parse({"messages": first}).conversation] == [True, False, True, True]
    assert turns({"messages": [*CHAT, SECOND[0], SECOND[1] | word]}) == [("user", "q"), ("assistant", "a")]
    none = parse({"messages": [CHAT[0], CHAT[1] | word]})
    assert none.reason == "no_supervised_token" and "not to be learned" in none.message
    shared = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"} | word,
                                {"from": "human", "value": "r"}, {"from": "gpt", "value": "b"}]}  # fmt: skip
    assert [m.learned for m in parse(shared).conversation] == [True, False, True, True]


@pytest.mark.parametrize("word", [{"weight": 1}, {"weight": None}, {"train": True}, {"loss": True}])
def test_an_answer_that_asks_to_be_learned_is(word):
    found = parse({"messages": [CHAT[0] | {"weight": 0}, CHAT[1] | word]})
    assert [m.learned for m in found.conversation] == [True, True]
    assert found.unused == []


@pytest.mark.parametrize(("word", "reason"), [
    ({"weight": 0.5}, "unsupported_field"), ({"weight": "0"}, "wrong_type"), ({"train": "no"}, "wrong_type"),
    ({"loss": -1}, "unsupported_field"), ({"train_detail": [{"begin_offset": 0}]}, "unsupported_field"),
])  # fmt: skip
def test_half_an_answer_is_refused(word, reason):
    found = parse({"messages": [CHAT[0], CHAT[1] | word]})
    assert (found.reason, next(iter(word)) in found.message) == (reason, True)


@pytest.mark.parametrize("row", [
    {"prompt": "q", "completion": "a", "label": False}, {"prompt": "q", "completion": "a", "label": 0},
    {"messages": CHAT, "label": False}, {"messages": CHAT, "kto_tag": False}, {"text": "t", "label": False},
    {"instruction": "q", "output": "a", "train": False}, {"messages": CHAT, "weight": 0},
    {"prompt": CHAT[:1], "completion": CHAT[1:], "label": False}])  # fmt: skip
def test_a_row_that_is_not_wanted_is_rejected_with_the_reason(row):
    assert parse(row).reason == "unwanted_answer"


def test_a_wanted_row_of_preference_data_is_an_ordinary_row():
    found = parse({"prompt": "q", "completion": "a", "label": True})
    assert [(m.content, m.learned) for m in found.conversation] == [("q", True), ("a", True)]
    assert found.unused == []
    assert parse({"instruction": "q", "output": "a", "label": "fruit"}).unused == ["label"]
    assert parse({"instruction": "q", "output": "a", "label": 0}).unused == ["label"]


def test_keys_that_nobody_reads_are_named_those_inside_turns_too():
    asked = [{"type": "text", "text": "q", "cache_control": {"type": "x"}}]
    turns = [{"role": "user", "content": asked, "name": "Ann"},
             {"role": "assistant", "content": "a", "refusal": None, "weight": 1, "mood": 0}]  # fmt: skip
    found = parse({"messages": turns, "tools": [{"type": "function"}], "id": 3, "empty": [], "split_group": "g"})
    assert found.unused == ["messages[].name", "messages[].content[].cache_control", "messages[].mood", "tools", "id"]
    asked = parse({"messages": [CHAT[0] | {"train": True}, CHAT[1]]})
    assert asked.unused == ["messages[].train"]
    assert parse({"prompt": "q", "completion": "a", "b\x1b[31m": 1}).unused == ["'b\\x1b[31m'"]


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
