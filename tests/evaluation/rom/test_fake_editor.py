"""The fake of the editor: a call is right if it returns what the row's own call returns, however it is spelled."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hafs.chat import Call, Message
from hafs.evaluation.metrics import Said
from hafs.evaluation.metrics.executes import Executes
from hafs.evaluation.rom.fake_editor import BadCall, FakeEditor, same_effect

DATA = Path(__file__).resolve().parents[3] / "data"
EDITOR = FakeEditor()
API = json.loads((DATA / "yaze_api.json").read_text(encoding="utf-8"))
TOOLS = tuple({"type": "function", "function": tool} for tool in API)


def call(name, **arguments):
    return Call(name=name, arguments=arguments)


def learned_calls():
    for line in (DATA / "yaze_tools.jsonl").read_text(encoding="utf-8").splitlines():
        for message in json.loads(line)["messages"]:
            for each in message.get("tool_calls") or () if message.get("weight") != 0 else ():
                yield each["function"]["name"], json.loads(each["function"]["arguments"])


def test_it_has_the_tools_of_the_sample_and_runs_every_call_that_is_learned():
    assert {tool["name"] for tool in API} == EDITOR.tools
    calls = list(learned_calls())
    assert len(calls) > 400
    for name, arguments in calls:
        assert EDITOR.run(name, arguments) == FakeEditor().run(name, arguments)


def test_it_finds_nearly_every_label_that_the_sample_searches_for():
    found = [EDITOR.run(name, arguments)["total_matches"] for name, arguments in learned_calls() if "search" in name]
    assert len(found) > 80
    assert sum(map(bool, found)) > 0.9 * len(found)


def test_calls_with_different_arguments_return_different_things():
    asked = {(name, json.dumps(arguments).lower()) for name, arguments in learned_calls() if "type" not in arguments}
    returned = {json.dumps(EDITOR.run(name, json.loads(arguments))) for name, arguments in asked}
    assert len(returned) == len(asked)


@pytest.mark.parametrize("spelled", ["0x03D", "0x3d", "3D", "03d"])
def test_a_number_may_be_spelled_as_the_editor_reads_it(spelled):
    assert same_effect(
        [call("dungeon-list-sprites", room="0x03D")], [call("dungeon-list-sprites", room=spelled)], EDITOR
    )


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("dungeon-list-sprites", {"room": "$3D"}, "Must be hex"),
        ("dungeon-list-sprites", {"room": "0x128"}, "last one is 0x127"),
        ("dungeon-list-sprites", {}, "Missing required arguments: --room"),
        ("overworld-describe-map", {"map": "0x10"}, "Missing required arguments: --screen"),
        ("overworld-list-warps", {"map": "0x10"}, "Unknown argument: --map"),
        ("overworld-find-tile", {"tile": 61}, "text"),
        ("resource-list", {"type": "rooms"}, "Unknown resource type"),
        ("dungeon-place-sprite", {"room": "0x010"}, "Unknown tool"),
    ],
)
def test_a_call_that_the_editor_refuses_is_wrong(name, arguments, said):
    with pytest.raises(BadCall, match=said):
        EDITOR.run(name, arguments)
    assert not same_effect([call("dungeon-list-sprites", room="0x03D")], [call(name, **arguments)], EDITOR)


def test_the_order_of_calls_does_not_matter_and_their_number_does():
    one, two = call("dungeon-list-sprites", room="0x010"), call("dungeon-list-sprites", room="0x011")
    assert same_effect([one, two], [two, one], EDITOR)
    assert not same_effect([one, two], [one], EDITOR)
    assert not same_effect([one], [one, one], EDITOR)
    assert not same_effect([one], [two], EDITOR)


def asked(*messages, expected=(), calls=(), answer=""):
    first, *rest = messages
    return Said(
        prompt=(replace(first, tools=TOOLS), *rest), reference="", answer=answer, expected_calls=expected, calls=calls
    )


def test_executes_counts_calls_and_refusals_but_not_the_words_for_a_result():
    metric = Executes(cases=[str(DATA / "alttp_asm.cases.jsonl")], seed=7, seconds=5.0, workers=1)
    user, result = Message(role="user", content="Which sprites are in room 16?"), Message(role="tool", content="{}")
    right, wrong = call("dungeon-list-sprites", room="0x10"), call("dungeon-list-sprites", room="0x16")
    expected = (call("dungeon-list-sprites", room="0x010"),)
    assert metric.parts(asked(user, expected=expected, calls=(right,))).amount == 1
    assert metric.parts(asked(user, expected=expected, calls=(wrong,))).amount == 0
    assert metric.parts(asked(user, expected=expected, answer="0x010")).amount == 0
    assert metric.parts(asked(user, answer="No tool does that.")).amount == 1
    assert metric.parts(asked(user, calls=(right,))).amount == 0
    assert metric.parts(asked(user, result, answer="Room 0x010 has no sprites.")) is None
    foreign = ({"type": "function", "function": {"name": "weather", "parameters": {}}},)
    assert metric.parts(Said(prompt=(replace(user, tools=foreign),), reference="", answer="", calls=(right,))) is None
