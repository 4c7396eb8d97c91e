"""State files that one command alone writes, damaged four ways: a conversation, the usage of users, a sampling."""

import json
import os
from dataclasses import replace

import pytest

from hafs.core.errors import HafsError
from hafs.council.conversations import Conversation, Conversations, Turn
from hafs.evaluation.sampling.journal import AnswerJournal, SampledAnswer
from hafs.evaluation.sampling.judging import JudgeCheck
from hafs.evaluation.sampling.sampler import _same_settings
from hafs.server.users import UsageStore, User

DAMAGES = {
    "0 bytes": lambda path: path.write_bytes(b""),
    "100 bytes": lambda path: os.truncate(path, 100),
    "random bytes": lambda path: path.write_bytes(os.urandom(5000)),
    "null": lambda path: path.write_text("null"),
}
damaged = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
ANSWER = SampledAnswer(
    key="", prompt="p" * 16, draw=0, text="x" * 200, calls=[], provider="p", model="m", cost=0.0, tokens=10,
    seconds=0.1, time=0.0, ended=True,
)  # fmt: skip
ADA = User(name="ada", requests_per_day=2, tokens_per_day=None, dollars_per_day=None)


@damaged
def test_a_damaged_usage_file_is_set_aside_and_counted_from_zero(tmp_path, damage, capfd):
    path = tmp_path / "usage.sqlite3"
    before = UsageStore(path)
    assert before.enter(ADA) is None
    before.close()
    damage(path)
    again = UsageStore(path)
    assert again.today("ada").requests == 0
    assert [again.enter(ADA) for _ in range(3)][-1] is not None  # the limit holds again
    again.close()
    if damage is not DAMAGES["0 bytes"]:  # which is an empty database to SQLite
        assert "usage.sqlite3 is damaged" in capfd.readouterr().err
        assert path.with_name("usage.sqlite3.damaged").exists()


@damaged
def test_a_damaged_conversation_is_one_line_and_the_others_are_kept(tmp_path, damage):
    store = Conversations(tmp_path)
    for name in ("one", "two"):
        store.save(Conversation(name, [Turn(question="Why?", answer="x" * 200)]))
    damage(tmp_path / "one.json")
    with pytest.raises(HafsError, match="'one' cannot be read"):
        store.open("one")
    assert store.open("two").turns[0].question == "Why?"


@damaged
def test_damaged_settings_of_a_sampling_are_one_line(tmp_path, damage):
    path = tmp_path / "settings.json"
    _same_settings(path, {"temperature": 0.7, "provider": "openrouter", "model": "a model with a long name"})
    damage(path)
    with pytest.raises(HafsError, match="damaged"):
        _same_settings(path, {"temperature": 0.7})


@damaged
def test_a_damaged_journal_of_answers_loses_lines_and_takes_new_ones(tmp_path, damage):
    path = tmp_path / "answers.jsonl"
    first, second = (replace(ANSWER, key=f"{number}/0") for number in (1, 2))
    journal = AnswerJournal(path)
    journal.note(first)
    journal.close()
    damage(path)
    again = AnswerJournal(path)
    assert again.answers == {}
    again.note(second)
    again.close()
    assert list(AnswerJournal(path).answers) == ["2/0"]


@damaged
def test_a_damaged_file_of_verdicts_is_judged_again(tmp_path, damage):
    path = tmp_path / "judged.jsonl"
    path.write_text(json.dumps({"key": "a" * 200, "value": 1.0}) + "\n")
    damage(path)
    assert JudgeCheck(None, None, path)._known == {}
