"""Reading `events.jsonl`: torn, missing, repeated, replaced, growing."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from journals import line, planned, started, step, whole_run, write

from hafs.core.errors import RunError
from hafs.runs.history import JournalReader, chosen
from hafs.runs.history.columns import MetricTable
from hafs.runs.history.curves import curve, smoothed, ticks
from hafs.runs.history.process import pause, resume, stop
from hafs.runs.history.wording import said


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outputs" / "run"


def read(folder):
    journal = JournalReader(folder)
    journal.follow()
    return journal


def test_a_missing_file_is_an_empty_history_until_it_appears(folder):
    journal = read(folder)
    assert journal.history.status() == "empty"
    assert journal.history.place().done == 0
    write(folder, step(0))
    assert journal.follow()
    assert len(journal.history.steps) == 1
    assert not journal.follow()


def test_a_torn_last_line_waits_for_its_end(folder):
    whole = step(1)
    write(folder, step(0), whole[:40], end="")
    journal = read(folder)
    assert len(journal.history.steps) == 1
    write(folder, whole[40:])
    journal.follow()
    assert journal.history.steps["total"].tolist() == [0, 1]
    assert journal.bad_lines == 0


def test_a_line_torn_by_a_kill_and_ended_by_the_next_start_costs_only_itself(folder):
    write(folder, step(0), step(1)[:33], "", step(1), '{"event": 7}', '"words"', "\x00\x01")
    journal = read(folder)
    assert journal.history.steps["total"].tolist() == [0, 1]
    assert journal.bad_lines == 4


def test_steps_repeated_after_a_restart_count_once_and_the_last_telling_holds(folder):
    write(folder, *(step(n, loss=9.0) for n in range(8)))
    write(folder, line("resumed", 1030.0, checkpoint="step-00000005", total=5))
    write(folder, *(step(n, loss=1.0, time=1040.0 + n) for n in range(5, 7)))
    history = read(folder).history
    assert history.steps["total"].tolist() == list(range(7))
    assert history.steps["loss"].tolist() == [9.0] * 5 + [1.0] * 2
    assert history.place().done == 7


def test_after_a_restart_the_place_is_the_checkpoints_before_the_first_new_step(folder):
    write(folder, planned(("main", 20, 1)), line("stage_started", 999.2, stage="main", total=0))
    write(folder, *(step(n) for n in range(8)), line("held_out", 1016.0, total=8, loss=2.0))
    write(folder, line("resumed", 1030.0, checkpoint="step-00000005", total=5))
    history = read(folder).history
    assert (history.place().done, history.place().step, history.place().steps) == (5, 5, 20)
    assert history.losses == []


def test_a_rollback_goes_to_where_it_says(folder):
    write(folder, *(step(n) for n in range(8)), line("held_out", 1016.0, total=8, loss=2.0))
    back = line("rollback", 1030.0, stage="main", total=8, to=4, left_out=["a"], rate=0.5, why="the loss ran away")
    write(folder, back)
    history = read(folder).history
    assert history.place().done == 4
    assert history.losses == []
    assert said(history.notable[-1]) == "rollback from step 8 to 4, learning rate x 0.5: the loss ran away"
    assert history.troubles == 1


def test_a_nan_loss_is_read_as_nan(folder):
    write(folder, step(0), step(1, loss=None), step(2))
    assert [math.isnan(x) for x in read(folder).history.steps["loss"]] == [False, True, False]


def test_a_replaced_or_shrunk_file_is_read_from_its_beginning(folder):
    write(folder, *(step(n) for n in range(9)))
    journal = read(folder)
    (folder / "events.jsonl").write_text(step(3) + "\n")
    journal.follow()
    assert journal.history.steps["total"].tolist() == [3]
    (folder / "events.jsonl").unlink()
    assert journal.follow()
    assert journal.history.status() == "empty"


def test_reading_in_pieces_gives_the_same_as_reading_everything(folder, monkeypatch):
    whole_run(folder)
    whole = read(folder).history
    monkeypatch.setattr("hafs.runs.history.journal._BLOCK", 300)  # shorter than some lines
    pieces = read(folder).history
    assert np.array_equal(pieces.steps["loss"], whole.steps["loss"])
    assert pieces.counts == whole.counts
    assert pieces.place() == whole.place()


def test_the_history_has_stage_epoch_progress_and_time_left(folder):
    history = read(whole_run(folder)).history
    place = history.place()
    assert (place.stage, place.index, place.stages) == ("main", 2, 2)
    assert (place.step, place.steps, place.epoch, place.epochs) == (50, 80, 2, 2)
    assert (place.done, place.planned) == (60, 90)
    assert history.seconds_left() == pytest.approx(30 * 2.0 + 1 * 6.0)
    assert (history.base, history.best) == (3.5, 3.1)
    assert history.losses == [(0, 3.5), (10, 3.1)]
    (answers,) = history.answers.values()
    assert (answers.base, answers.newest, answers.total) == ("I cannot.", "lda #1", 60)


def test_a_stage_that_was_not_kept_is_not_the_best(folder):
    write(folder, line("stage_finished", 1.0, stage="base", total=0, kept=True, loss=3.0))
    write(folder, line("stage_finished", 2.0, stage="main", total=9, kept=False, loss=3.6))
    assert read(folder).history.best == 3.0


def test_running_crashed_and_copied_runs_are_distinguished(folder, tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = __import__("psutil").Process(child.pid).create_time()
    write(folder, started(folder, pid=child.pid, process_began=began), step(0))
    try:
        assert read(folder).history.status(now=1e9) == "running"
    finally:
        child.communicate(b"\n")
    assert read(folder).history.status() == "crashed"
    write(tmp_path / "copy", started(folder), step(0))
    copy = read(tmp_path / "copy").history
    assert (copy.status(now=1001.0), copy.status(now=9999.0)) == ("running", "silent")


def test_a_reused_process_id_is_not_the_run(folder):
    write(folder, started(folder, process_began=12345.0), step(0))
    assert read(folder).history.status() == "crashed"
    with pytest.raises(RunError, match="no process works on it"):
        stop(read(folder).history.started, folder)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (line("finished", 2000.0, total=1, best_stage="main", loss=1.0), "finished"),
        (line("paused", 2000.0, total=1), "paused"),
        (line("interrupted", 2000.0, signal="SIGTERM", total=1), "stopped"),
        (line("ended", 2000.0, error="stopped", exit_code=75), "stopped"),
        (line("ended", 2000.0, error="ran away", exit_code=3), "diverged"),
        (line("ended", 2000.0, error="ValueError", exit_code=1), "failed"),
    ],
)
def test_the_last_event_says_how_a_run_ended(folder, event, status):
    write(folder, started(folder), step(0), event)
    assert read(folder).history.status() == status
    write(folder, started(folder, time=3000.0))
    assert read(folder).history.status() == "running"


def test_a_start_that_was_refused_leaves_a_finished_run_finished(folder):
    write(folder, started(folder), step(0), line("finished", 2000.0, total=1, best_stage="main", loss=1.0))
    write(folder, started(folder), line("ended", 3000.0, error="the data has changed", exit_code=2))
    assert read(folder).history.status() == "finished"


def test_pause_resume_and_stop_reach_the_process_of_the_run_and_no_other(folder):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = __import__("psutil").Process(child.pid).create_time()
    write(folder, started(folder, pid=child.pid, process_began=began))
    noted = read(folder).history.started
    pause(noted, folder)
    assert (folder / "pause").exists()
    resume(folder)
    assert not (folder / "pause").exists()
    stop(noted, folder)
    assert child.wait(timeout=20) == -15
    child.stdin.close()
    with pytest.raises(RunError, match="cannot be paused"):
        pause(noted, folder)
    with pytest.raises(RunError, match="not on this machine"):
        stop(noted | {"host": "elsewhere"}, folder)


def test_runs_are_found_by_name_sweep_and_path_and_a_wrong_name_gets_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    roots = [tmp_path / "outputs", tmp_path / "multirun"]
    for age, name in enumerate(
        ("outputs/old", "outputs/new", "multirun/sweep/adapter.r=8", "multirun/sweep/adapter.r=4")
    ):
        write(tmp_path / name, step(0))
        os.utime(tmp_path / name / "events.jsonl", (1000 + age % 3, 1000 + age % 3))
    (tmp_path / "outputs/no-run").mkdir()
    assert [f.name for f in chosen([], roots)] == ["adapter.r=8"]
    assert [f.name for f in chosen(["sweep", "old"], roots)] == ["adapter.r=4", "adapter.r=8", "old"]
    assert [f.name for f in chosen(["outputs/new"], roots)] == ["new"]
    with pytest.raises(RunError, match="no run 'nwe'") as error:
        chosen(["nwe"], roots)
    assert "did you mean 'new'" in str(error.value)


def test_columns_grow_and_go_back():
    columns = MetricTable(("total", "x"))
    columns.extend([np.arange(5000.0), np.zeros(5000)])
    columns.extend([np.array([4990.0, 4991.0, 10.0, 11.0]), np.ones(4)])
    assert len(columns) == 12
    assert columns["x"].sum() == 2


def test_a_curve_keeps_every_spike_and_the_mean():
    x = np.arange(10_000.0)
    y = np.sin(x / 500)
    y[7777] = 50.0
    drawn = curve(x, y, 100)
    assert len(drawn.x) == 100
    assert drawn.high.max() == 50.0
    assert drawn.mean.mean() == pytest.approx(y.mean(), abs=1e-9)
    assert smoothed(np.array([1.0, math.nan, 3.0, 5.0]), 2).tolist() == [1.0, 1.0, 3.0, 4.0]
    assert ticks(0.0, 1.0, 4) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
