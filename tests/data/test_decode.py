import random

import orjson
import pytest

from hafs.data.decode import Reject, decode
from hafs.data.formats import Parsed, parse

BROKEN = {
    "invalid_json": b'{"text": "a",}',
    "two_objects": b'{"text": "a"} {"text": "b"}',
    "invalid_utf8": b'{"text": "\xff\xfe"}',
    "byte_order_mark": b'\xef\xbb\xbf{"text": "a"}',
    "nul": b'{"text": "a\x00"}',
    "not_finite": b'{"text": "a", "score": NaN}',
    "not_an_object": b'["text"]',
    "duplicate_key": b'{"text": "a", "text": "b"}',
    "nesting": b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("reason", BROKEN)
def test_broken_lines_are_rejected_with_their_reason(reason):
    found = decode(BROKEN[reason], ended=True)
    assert isinstance(found, Reject)
    assert found.reason == reason
    assert found.message


@pytest.mark.parametrize(("line", "reason"), [
    (b'{"text": "a\\u0000"}', "nul"),
    (b'{"a": {"b": ["\\u0000"]}}', "nul"),
    (b'{"a": Infinity}', "not_finite"),
    (b'{"a": -Infinity}', "not_finite"),
    (b'{"a": 1e999}', "not_finite"),
    (b'{"a": [{"k" : 1, "k" :2}]}', "duplicate_key"),
    (b'{"a": "\\ud800"}', "invalid_json"),
    (b'{"a":1}{"b":2}', "two_objects"),
    (b"null", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"[" * 100_000, "nesting"),
    (b"[" * 200 + b"]" * 200, "not_an_object"),
    (b'{"a":' * 80 + b"1" + b"}" * 80, "nesting"),
])  # fmt: skip
def test_rarer_forms_are_recognized(line, reason):
    assert decode(line, ended=True).reason == reason


def test_a_last_line_that_breaks_off_is_called_truncated():
    assert decode(b'{"text": "abc', ended=False).reason == "truncated_line"
    assert decode(b'{"text": "abc', ended=True).reason == "invalid_json"
    assert decode(b'{"text": "abc"}', ended=False) == {"text": "abc"}


def test_colons_in_strings_are_not_duplicate_keys():
    row = {"text": 'he said "a": and "a": again', "more": [{"k": 1}, {"k": 2}]}
    assert decode(orjson.dumps(row), ended=True) == row


def test_random_bytes_never_raise():
    dice = random.Random(5)
    seeds = [b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}', *BROKEN.values()]
    for _ in range(300):
        line = bytearray(dice.choice(seeds)[:200])
        for _ in range(dice.randrange(6)):
            line[dice.randrange(len(line))] = dice.randrange(256)
        if dice.random() < 0.3:
            line = bytearray(dice.randbytes(dice.randrange(1, 80)))
        found = decode(bytes(line), ended=dice.random() < 0.5)
        outcome = found if isinstance(found, Reject) else parse(found)
        assert isinstance(outcome, (Reject, Parsed))


def test_random_values_in_known_fields_never_raise():
    dice = random.Random(6)
    values = [None, 1, 1.5, True, "", " ", "text", [], [1], {}, {"role": "user"}, [{"role": "user", "content": "a"}],
              [{"from": "gpt", "value": None}], [{"role": 3, "content": "x"}],
              [{"role": "user", "content": ["a"]}]]  # fmt: skip
    keys = [
        "messages",
        "conversations",
        "instruction",
        "input",
        "output",
        "prompt",
        "completion",
        "text",
        "system",
        "id",
    ]
    for _ in range(2000):
        row = {key: dice.choice(values) for key in dice.sample(keys, dice.randrange(5))}
        assert isinstance(parse(row), (Reject, Parsed))
