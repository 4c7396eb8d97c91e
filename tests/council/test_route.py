"""The command that measures routers, as a person uses it."""

import json
import sys

import pytest

from hafs.commands import route


def rows(path, pairs):
    path.write_text(
        "".join(json.dumps({"instruction": question, "output": who}) + "\n" for question, who in pairs),
        encoding="utf-8",
    )
    return path


def run(monkeypatch, *words):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["hafs.commands.route", "provider=scripted", "router=keyword", *words])
    try:
        route.main()
    except SystemExit as end:
        return end.code
    return 0


QUESTIONS = [
    ("How do I use lda and sta in a subroutine?", "asm"),
    ("Replace the palette of room 12", "yaze"),
    ("It crashes with an error", "debug"),
    ("Nothing of this is said", "debug"),
]


def test_a_users_own_file_is_measured_and_wrong_routings_are_shown(tmp_path, monkeypatch, capsys):
    path = rows(tmp_path / "mine.jsonl", QUESTIONS)
    assert run(monkeypatch, f"rows={path}", "held_out=1", "wrong=true") == 0
    said = capsys.readouterr().out
    assert "4 questions: 75.0% exactly right" in said
    assert "Nothing of this is said" in said
    assert "It crashes" not in said


def test_fitted_thresholds_are_printed_as_overrides(tmp_path, monkeypatch, capsys):
    weak = [(f"It crashes, case {k}", "debug") for k in range(20)] + QUESTIONS[:2]
    path = rows(tmp_path / "mine.jsonl", weak)
    assert run(monkeypatch, f"rows={path}", "held_out=0.4", "fit=true") == 0
    said = capsys.readouterr().out
    assert "expert.debug.threshold=0.5" in said
    words = next(line for line in said.splitlines() if line.startswith("fitted")).split(": ", 1)[1].split()
    assert run(monkeypatch, f"rows={path}", "held_out=0.4", *words) == 0
    assert "100.0% exactly right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["rows=nowhere.jsonl"], "cannot be read"),
        (["held_out=0"], "held_out is 0"),
        (["held_out=1", "fit=true"], "0 others"),
        (["router=nobody"], "nobody"),
    ],
)
def test_a_file_that_cannot_be_measured_is_one_line_and_exit_2(monkeypatch, capsys, words, why):
    assert run(monkeypatch, *words) == 2
    said = capsys.readouterr().err
    assert why in said
    assert "Traceback" not in said
