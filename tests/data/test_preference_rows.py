"""Rows with a better and a worse answer, in the formats of TRL, OpenAI and LLaMA-Factory."""

import pytest

from hafs.data.decode import Reject
from hafs.data.formats import parse
from hafs.data.parts import PairSplit
from hafs.data.prepare import prepare

ASK, GOOD, BAD = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a"},
    {"role": "assistant", "content": "b"},
)
BEFORE = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "done"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"prompt": "q", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"input": {"messages": [ASK]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"},
         "rejected": {"from": "gpt", "value": "b"}},
    ],
)  # fmt: skip
def test_each_format_of_pairs_is_recognized(row):
    parsed = parse(row)
    assert [(m.role, m.content) for m in parsed.conversation] == [("user", "q"), ("assistant", "a")]
    assert [(m.role, m.content) for m in parsed.rejected] == [("user", "q"), ("assistant", "b")]
    assert not parsed.unused


def test_answers_that_both_sides_share_are_context():
    parsed = parse({"chosen": [*BEFORE, ASK, GOOD], "rejected": [*BEFORE, ASK, BAD]})
    assert [m.learned for m in parsed.conversation] == [m.learned for m in parsed.rejected]
    assert [m.learned for m in parsed.conversation if m.role == "assistant"] == [False, True]


def test_openai_tools_belong_to_both_sides():
    tools = [{"type": "function", "function": {"name": "open_rom", "parameters": {"type": "object", "properties": {}}}}]
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function",
                                                 "function": {"name": "open_rom", "arguments": "{}"}}]}  # fmt: skip
    row = {"input": {"messages": [ASK], "tools": tools}, "preferred_output": [call], "non_preferred_output": [BAD]}
    parsed = parse(row)
    assert parsed.conversation[0].tools
    assert parsed.conversation[0].tools == parsed.rejected[0].tools
    assert parsed.conversation[1].calls[0].name == "open_rom"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "q a", "rejected": "q b"}, "missing_field"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "no_difference"),
        ({"chosen": [ASK, GOOD], "rejected": [{**ASK, "content": "other"}, BAD]}, "role_order"),
        ({"prompt": "q", "chosen": 3, "rejected": "b"}, "wrong_type"),
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "empty_field"),
    ],
)
def test_a_row_that_is_not_a_pair_is_rejected_with_its_reason(row, reason):
    found = parse(row)
    assert isinstance(found, Reject)
    assert found.reason == reason


def test_pairs_and_plain_rows_share_a_file_and_each_stage_finds_its_own(write, described, tokenizer, here):
    rows = [{"instruction": f"q{i}", "output": f"answer {i}"} for i in range(20)]
    rows += [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"a bad answer {i}"} for i in range(10)]
    rows += [{"prompt": "p0", "chosen": "good 0", "rejected": "another bad answer"}]  # no duplicate, no conflict
    rows += [{"prompt": "p1", "chosen": "good 1", "rejected": "word " * 400}]
    data = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    pairs = [PairSplit(split) for split in data.splits.values()]
    assert sum(map(len, data.splits.values())) == 31
    assert sum(map(len, pairs)) == 11
    assert data.report.rejected == {"too_long": 1}
    assert data.report.conflicts == data.report.exact_duplicates == 0
    assert any("11 preference rows" in note for note in data.report.notes)
    pair = next(each for each in pairs if len(each))[0]
    better, worse = (tokenizer.decode(half.tokens[half.supervised]) for half in (pair.chosen, pair.rejected))
    assert better.startswith("good ")
    assert "bad answer" in worse
    assert len(pair.tokens) == next(each for each in pairs if len(each)).lengths[0]
