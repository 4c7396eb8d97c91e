"""Every checkpoint as a resume point, elsewhere and otherwise; changed data; neighbours; decisions; saving itself."""

import os
import random
import shutil
import subprocess
import sys

import pytest
from harness import (
    TORMENTED,
    Started,
    assert_same,
    events,
    outcome,
    said,
    seeded,
    steps,
    train,
    write_rows,
)
from tiny_runs import with_common


def keep_every_checkpoint():
    """Copies the run's folder at each save."""
    from pathlib import Path

    from hafs.runs.checkpoints import Checkpoints

    real = Checkpoints.save

    def save(self, step, state):
        made = real(self, step, state)
        copy = Path(f"snapshots/{step:02d}")
        if not copy.exists():
            shutil.copytree(self.root.parent, copy, ignore=shutil.ignore_patterns(".lock"))
        return made

    Checkpoints.save = save


OTHERWISE = (
    ("num_workers=2",),
    ("elsewhere",),
    ("tmpdir",),
    ("moved",),
    ("callbacks.checkpoint.every_steps=1", "callbacks.checkpoint.keep=9"),
)


@pytest.fixture
def snapshots(here):
    """The run's folder as it was after each of its twelve steps."""
    write_rows(here)
    assert train(here, "callbacks.checkpoint.every_steps=1", patch=keep_every_checkpoint) == 0
    found = sorted((here / "snapshots").iterdir())
    assert len(found) == 12
    return found


def resume(here, snapshot, way, undisturbed):
    """Go on from a snapshot in another way; the end must be the same."""
    work = here / f"work-{snapshot.name}-{OTHERWISE.index(way)}"
    (work / "outputs").mkdir(parents=True)
    write_rows(work)
    run = work / ("else where/moved" if way == ("moved",) else "outputs/run")
    shutil.copytree(snapshot, run)
    words, options = [w for w in way if "=" in w], {}
    if way == ("moved",):
        words = [f"resume='{run}'"]
    if way == ("tmpdir",):
        (work / "tmp").mkdir()
        options = {"environ": {"TMPDIR": str(work / "tmp")}}
    if way == ("elsewhere",):  # a path is part of the config: refused, with the key
        assert train(here, f"resume={run}", f"dataset.path={work}/rows.jsonl") == 2
        assert "dataset.path: 'rows.jsonl' -> " in said(here)
    assert train(work, *words, **options) == 0, said(work)
    assert events(run, "resumed")[-1]["checkpoint"] == f"step-{int(snapshot.name):08d}"
    assert_same(run, undisturbed)


def test_a_checkpoint_is_a_resume_point_with_other_workers_folders_and_settings(here, snapshots, undisturbed):
    accidents = seeded(random.randrange(2**32))
    for way, snapshot in zip(OTHERWISE, accidents.sample(snapshots, len(OTHERWISE)), strict=True):
        resume(here, snapshot, way, undisturbed)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", OTHERWISE)
def test_every_checkpoint_is_a_resume_point(here, snapshots, undisturbed, way):
    for snapshot in snapshots:
        resume(here, snapshot, way, undisturbed)


def test_data_that_changed_are_refused_with_both_hashes_unless_told_otherwise(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="step.done@step-00000005:kill") == -9
    write_rows(rows, count=41)
    assert train(rows) == 2
    told = next(line for line in said(rows).splitlines() if "has changed" in line)
    before, now = told.split("it was ")[1].split(", now it is ")
    assert before != now
    assert len(before) == len(now) == 32
    assert "on_data_change=continue" in said(rows)
    assert train(rows, "on_data_change=continue") == 0, said(rows)[-2000:]
    assert events(run, "data_changed")[0]["before"] == before
    assert events(run, "data_changed")[0]["now"] == now
    assert events(run, "resumed")


def test_a_second_process_leaves_with_a_clear_line_and_a_stale_lock_is_taken_over(rows, undisturbed):
    run = rows / "outputs/run"
    first = Started(rows, failpoints="")
    first.until(lambda: events(run, "started"))
    os.kill(first.pid, 19)  # SIGSTOP: it holds the folder as long as we like
    second = Started(rows)
    assert second.ended() == 2
    assert "hafs: another process is at work in outputs/run\n-> choose another name=, or wait" in said(rows)
    first.process.kill()
    first.ended()
    assert (run / ".lock").exists()
    assert train(rows) == 0
    assert_same(run, undisturbed)


STOPS_EARLY = (
    "stage=main",
    "stage.main.epochs=6",
    "stage.main.lr=1e-9",
    "callbacks.early_stopping.min_delta=0.1",
)


def test_early_stopping_decides_the_same_with_kills_at_each_measurement(rows):
    assert train(rows, *STOPS_EARLY, "name=whole") == 0, said(rows)[-2000:]
    whole = rows / "outputs/whole"
    assert [e["epoch"] for e in events(whole, "early_stopping")] == [2]
    assert len(steps(whole)) == 15
    run = rows / "outputs/run"
    for place in (
        "validation.batch@step-00000005",
        "validation.done@step-00000005",
        "epoch.done@step-00000005",
        "validation.done@step-00000010",
        "commit.sealed@step-00000010",
        "validation.done@step-00000015",
        "epoch.done@step-00000015",
        "commit.sealed@01-main",
    ):
        assert train(rows, *STOPS_EARLY, failpoints=f"{place}:kill") == -9, place
    assert train(rows, *STOPS_EARLY) == 0
    assert_same(run, outcome(whole))


def nan_in_main():
    from hafs.training.module import FineTuningModule

    real = FineTuningModule.on_validation_epoch_end

    def end(self):
        if self.cursor.stage == 2:
            self._measuring.loss = self._measuring.loss._replace(nats=self._measuring.loss.nats * float("nan"))
        real(self)

    FineTuningModule.on_validation_epoch_end = end


def test_a_stage_whose_held_out_loss_is_nan_is_not_used_and_a_kill_changes_nothing(rows):
    on = "on_worse=continue"
    assert train(rows, on, "name=whole", patch=nan_in_main) == 0, said(rows)[-2000:]
    kept = {e["stage"]: e["kept"] for e in events(rows / "outputs/whole", "stage_finished")}
    assert kept == {"base": True, "warmup": True, "main": False, "cooldown": True}
    for place in ("validation.done@step-00000006", "epoch.done@step-00000006", "stage.closed@main"):
        assert train(rows, on, patch=nan_in_main, failpoints=f"{place}:kill") == -9, place
    assert train(rows, on, patch=nan_in_main) == 0
    got, whole = (outcome(rows / f"outputs/{name}") for name in ("run", "whole"))
    assert got["steps"] == whole["steps"]
    assert got["adapter"] == whole["adapter"]


def test_without_a_held_out_split_every_stage_is_kept_and_a_kill_changes_nothing(rows):
    none = ("dataset.val_fraction=0", "dataset.test_fraction=0")
    assert train(rows, *none, "name=whole") == 0, said(rows)[-2000:]
    assert all(e["kept"] for e in events(rows / "outputs/whole", "stage_finished"))
    assert train(rows, *none, failpoints="epoch.done@step-00000008:kill") in (-9, 0)
    assert train(rows, *none) == 0
    got, whole = (outcome(rows / f"outputs/{name}") for name in ("run", "whole"))
    assert got["steps"] == whole["steps"]
    assert got["adapter"] == whole["adapter"]


@pytest.mark.parametrize("quant", ["none", "nf4"])
def test_saving_itself_changes_no_step(rows, quant):
    for name, every in (("often", 1), ("never", 1000)):
        assert train(rows, f"name={name}", f"quant={quant}", f"callbacks.checkpoint.every_steps={every}") == 0
    often, never = (outcome(rows / f"outputs/{name}") for name in ("often", "never"))
    assert len(events(rows / "outputs/often", "saved")) > len(events(rows / "outputs/never", "saved"))
    assert often == never


def test_a_process_of_its_own_gives_the_bits_that_the_forked_ones_give(rows, undisturbed):
    done = subprocess.run(
        [sys.executable, "-m", "hafs.train", *with_common(common=TORMENTED)],
        check=False,
        cwd=rows,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert_same(rows / "outputs/run", undisturbed)
    assert "survived   0 interruptions" in done.stdout
