import json

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


@pytest.mark.parametrize(
    "word", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"loss": False}, {"loss_scale": 0.0}]
)
def test_an_answer_that_says_so_is_context(word):
    first = [CHAT[0], CHAT[1] | word, SECOND[0], SECOND[1]]
    assert [m.learned for m in parse({"messages": first}).conversation] == [True, False, True, True]
    assert turns({"messages": [*CHAT, SECOND[0], SECOND[1] | word]}) == [("user", "q"), ("assistant", "a")]
    none = parse({"messages": [CHAT[0], CHAT[1] | word]})
    assert none.reason == "no_supervised_token" and "excluded from training" in none.message
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
    ({"loss": -1}, "unsupported_field"), ({"loss_scale": 0.5}, "unsupported_field"),
    ({"train_detail": [{"begin_offset": 0}]}, "unsupported_field"),
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


def test_unused_keys_are_named_also_those_inside_turns():
    asked = [{"type": "text", "text": "q", "cache_control": {"type": "x"}}]
    turns = [{"role": "user", "content": asked, "name": "Ann"},
             {"role": "assistant", "content": "a", "refusal": None, "weight": 1, "mood": 0}]  # fmt: skip
    found = parse({"messages": turns, "tags": ["x"], "id": 3, "empty": [], "split_group": "g"})
    assert found.unused == ["messages[].name", "messages[].content[].cache_control", "messages[].mood", "tags", "id"]
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
    ({"messages": [*CHAT, {"role": "system", "content": "s"}]}, "role_order", "turn 3 is system"),
    ({"messages": CHAT[:1]}, "no_supervised_token", "nothing to train on"),
    ({"messages": [CHAT[0], {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "bad_call", "without a name"),
    ({"messages": [CHAT[0], {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
     "bad_call", "arguments of 'f' is not JSON"),
    ({"messages": [CHAT[0], {"role": "assistant", "function_call": {"name": "f", "arguments": "[1]"}}]}, "bad_call",
     "are list, expected an object"),
    ({"messages": CHAT, "tools": "[{}]"}, "wrong_type", "not a function with a name"),
    ({"instruction": "q", "output": "a", "history": [["q"]]}, "wrong_type", "'history'"),
])  # fmt: skip
def test_rows_that_cannot_be_used_say_why(row, reason, says):
    found = parse(row)
    assert isinstance(found, Reject)
    assert found.reason == reason
    assert says in found.message


@pytest.mark.parametrize(("row", "name", "expected"), [
    ({"prompt": "q", "response": "a"}, "prompt/response", [("user", "q"), ("assistant", "a")]),
    ({"question": "q", "answer": "a"}, "question/answer", [("user", "q"), ("assistant", "a")]),
    ({"query": "q", "response": "a", "history": [["h", "i"]]}, "query/response",
     [("user", "h"), ("assistant", "i"), ("user", "q"), ("assistant", "a")]),
    ({"input": "q", "output": "a"}, "input/output", [("user", "q"), ("assistant", "a")]),
    ({"problem": "q", "solution": "a", "answer": "4"}, "problem/solution", [("user", "q"), ("assistant", "a")]),
    ({"instruction": "q", "context": "c", "response": "a"}, "instruction/response",
     [("user", "q\n\nc"), ("assistant", "a")]),
    ({"system_prompt": "s", "question": "q", "response": "a"}, "question/response",
     [("system", "s"), ("user", "q"), ("assistant", "a")]),
    ({"conversation": CHAT}, "conversation", [("user", "q"), ("assistant", "a")]),
    ({"dialog": CHAT}, "dialog", [("user", "q"), ("assistant", "a")]),
    ({"messages": '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'}, "messages",
     [("user", "q"), ("assistant", "a")]),
    ({"messages": [*CHAT, CHAT[0]]}, "messages", [("user", "q"), ("assistant", "a")]),
    ({"messages": [*CHAT, {"role": "ipython", "content": "1"}, CHAT[1]]}, "messages",
     [("user", "q"), ("assistant", "a"), ("tool", "1"), ("assistant", "a")]),
])  # fmt: skip
def test_the_shapes_of_other_trainers_are_read(row, name, expected):
    assert (parse(row).format, turns(row)) == (name, expected)


def test_columns_name_what_they_are_read_as():
    found = parse({"q": "asked", "text": "essay", "a": "said"}, columns={"q": "prompt", "a": "completion"})
    assert [(m.role, m.content) for m in found.conversation] == [("user", "asked"), ("assistant", "said")]
    assert found.unused == ["text"]
    turned = parse(
        {"prompt": "x", "question": "y", "answer": "z"}, columns={"question": "prompt", "answer": "response"}
    )
    assert [m.content for m in turned.conversation] == ["y", "z"]


def test_reasoning_is_kept_beside_the_answer_or_dropped():
    rows = [{"messages": [CHAT[0], CHAT[1] | {key: "r"}]} for key in ("reasoning_content", "thinking")]
    rows.append({"prompt": "q", "completion": "a", "reasoning": "r"})
    for row in rows:
        assert [(m.content, m.reasoning) for m in parse(row).conversation] == [("q", ""), ("a", "r")]
        assert [(m.content, m.reasoning) for m in parse(row, reasoning=False).conversation] == [("q", ""), ("a", "")]
        assert parse(row).unused == []
    inline = {"prompt": "q", "completion": "<think>\nr\n</think>\n\na"}
    assert parse(inline).conversation[1].content == inline["completion"]
    assert parse(inline, reasoning=False).conversation[1].content == "a"


WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}
CALL = {"name": "weather", "arguments": {"place": "Bern", "days": 2}}
CALLED = [("user", "q", []), ("assistant", "", [CALL]), ("tool", '{"sun": 1}', []), ("assistant", "a", [])]


@pytest.mark.parametrize("row", [
    {"messages": [CHAT[0], {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": CALL | {"arguments": '{"place": "Bern", "days": 2}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"sun": 1}'}, CHAT[1]],
     "tools": [{"type": "function", "function": WEATHER}], "parallel_tool_calls": False},
    {"messages": [CHAT[0], {"role": "assistant", "function_call": CALL},
                  {"role": "function", "name": "weather", "content": {"sun": 1}}, CHAT[1]], "functions": [WEATHER]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": json.dumps(CALL)},
                       {"from": "observation", "value": '{"sun": 1}'}, {"from": "gpt", "value": "a"}],
     "tools": json.dumps([WEATHER])},
    {"messages": [CHAT[0], {"role": "tool_call", "content": json.dumps(CALL)},
                  {"role": "tool_response", "content": '{"sun": 1}'}, CHAT[1]], "tools": [WEATHER]},
    {"conversations": [{"from": "human", "value": "q"},
                       {"from": "gpt", "value": f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"},
                       {"from": "tool", "value": '{"sun": 1}'}, {"from": "gpt", "value": "a"}],
     "tools": json.dumps([{"type": "function", "function": WEATHER}])},
])  # fmt: skip
def test_calls_of_tools_are_read_in_each_of_their_forms(row):
    found = parse(row)
    said = [
        (m.role, m.content, [{"name": c.name, "arguments": c.arguments} for c in m.calls]) for m in found.conversation
    ]
    assert said == CALLED
    assert [tool["function"] for tool in found.conversation[0].tools] == [WEATHER]
    assert found.unused == []


def test_a_row_of_a_question_and_calls_is_read_with_its_tools_as_schemas():
    row = {"query": "q", "answers": json.dumps([CALL, CALL]), "tools": json.dumps([
        {"name": "weather", "description": "d", "parameters": {
            "place": {"description": "where", "type": "str"},
            "days": {"type": "int, optional", "default": 1}}}])}  # fmt: skip
    found = parse(row)
    assert [call.arguments for call in found.conversation[1].calls] == [CALL["arguments"]] * 2
    assert found.conversation[0].tools[0]["function"]["parameters"] == {
        "type": "object", "required": ["place"], "properties": {
            "place": {"description": "where", "type": "string"},
            "days": {"type": "integer", "default": 1}}}  # fmt: skip


def test_several_calls_in_a_row_are_one_answer_and_tools_stand_on_the_first_message():
    call, result = {"role": "tool_call", "content": json.dumps(CALL)}, {"role": "tool_response", "content": "1"}
    turns_ = [CHAT[0], {"role": "assistant", "content": "so"}, call, call, result, result, CHAT[1]]
    found = parse({"messages": turns_, "tools": [WEATHER]}, system="S").conversation
    assert [(m.role, m.content, len(m.calls), len(m.tools)) for m in found] == [
        ("system", "S", 0, 1), ("user", "q", 0, 0), ("assistant", "so", 2, 0), ("tool", "1", 0, 0), ("tool", "1", 0, 0),
        ("assistant", "a", 0, 0)]  # fmt: skip
