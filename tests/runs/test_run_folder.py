"""A run's folder: its record, its events, what it says of what it went through."""

import json

import pytest

from hafs.core.errors import RunError
from hafs.runs.run_folder import RECORD, Run
from hafs.runs.survival import survival
from hafs.training.rollback import Rollback, RollbackLog


def test_a_record_with_any_bit_flipped_is_refused_or_says_the_same(tmp_path):
    with Run(tmp_path / "run") as run:
        run.record({"lr": 0.003, "stages": {}}, data="abc")
        path = run.folder / RECORD
        whole = path.read_bytes()
        facts = run._recorded()
        refused = 0
        for place in range(len(whole)):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            path.write_bytes(flipped)
            try:
                assert run._recorded() == facts
            except RunError as error:
                assert "is damaged" in error.fact
                refused += 1
        assert refused > len(whole) / 2


def test_a_decision_to_go_back_with_any_bit_flipped_is_refused_or_says_the_same(tmp_path):
    rollbacks = RollbackLog(tmp_path)
    assert rollbacks.of(1) == []
    for stage in (1, 2):
        rollbacks.decide(Rollback(stage=stage, to=6, left_out=(12, 14), why="the loss is nan"))
    whole, decided = rollbacks.path.read_bytes(), rollbacks.of(1)
    assert [decision.leaves_out(total) for decision in decided for total in (11, 12, 14, 15)] == [0, 1, 1, 0]
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        rollbacks.path.write_bytes(flipped)
        try:
            assert rollbacks.of(1) == decided
        except RunError as error:
            assert "the rolled-back steps are unknown" in error.fact


def test_a_secret_is_blanked_in_events(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "canary-91aa")
    with Run(tmp_path / "run") as run:
        run.event("note", text="it is canary-91aa")
    assert json.loads((tmp_path / "run/events.jsonl").read_text())["text"] == "it is ***"


def step(total, time, *, seconds=1.0, skipped=None):
    return {"event": "step", "total": total, "time": time, "seconds": seconds, "skipped": skipped}


def test_what_a_run_went_through_is_counted_from_its_events():
    told = [
        {"event": "started", "time": 0.0},
        {"event": "stage_started", "time": 5.0},
        step(0, 6.0),
        step(1, 7.0),
        {"event": "started", "time": 10.0},  # a kill; step 1 is made again
        {"event": "stage_started", "time": 13.0},
        step(1, 14.0),
        step(2, 15.0, skipped="the loss is nan"),
        {"event": "out_of_memory", "time": 15.5},
        {"event": "rollback", "time": 16.0},
        {"event": "checkpoint_damaged", "time": 16.0},
        {"event": "finished", "time": 17.0},
        {"event": "started", "time": 30.0},  # the same command again is no interruption
        {"event": "finished", "time": 31.0},
    ]
    found = survival(told)
    assert (found.interruptions, found.steps_dropped, found.rollbacks, found.out_of_memory, found.damaged) == (
        1,
        1,
        1,
        1,
        1,
    )
    assert found.seconds_lost == pytest.approx(3.0 + 1.0 + 1.0)
    assert found.line() == (
        "survived   1 interruption, 1 step dropped, 1 rollback, 1 out-of-memory retry, 1 damaged checkpoint; 5 s lost"
    )


def test_a_mistyped_path_is_not_an_interruption_survived():
    typo = [{"event": "started", "time": 1.0}, {"event": "ended", "exit_code": 2, "time": 1.1}]
    worked = [{"event": "started", "time": 2.0}, {"event": "stage_started", "time": 3.0}]
    full_disk = [*worked, {"event": "ended", "exit_code": 2, "time": 4.0}]
    assert survival([*typo * 3, *worked, {"event": "finished"}]).interruptions == 0
    assert survival([*full_disk, *worked, {"event": "finished"}]).interruptions == 1


def test_what_the_size_of_the_data_chose_is_in_the_record(here):
    chosen = {"warmup": None, "main": {"epochs": 9, "lr": 1e-3}}
    with Run(here / "run") as run:
        assert run.chosen() is None
        run.record({}, data="x", chosen=chosen)
    with Run(here / "run") as again:
        assert again.chosen() == chosen
