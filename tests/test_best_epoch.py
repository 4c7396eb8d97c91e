"""A stage hands on its best measured epoch, whatever the later ones were, and whatever interrupts it."""

import json
import shutil
from itertools import count

import pytest
import torch
from tiny_runs import adapter, events, run, write_rows

from hafs.runs.checkpoints import Checkpoints
from hafs.runs.run_folder import Run
from hafs.training.module import FineTuningModule

LONG = (
    "stage=main",
    "stage.main.lr=1e-2",
    "stage.main.schedule=constant",
    "stage.main.batch_size=4",
    "stage.main.warmup_steps=0",
    "adapter.lora_dropout=0.2",
)
"""Five steps an epoch, the same at each rate of the schedule, so that a shorter stage is the beginning of a longer."""
FOUR = (*LONG, "stage.main.epochs=4", "callbacks.early_stopping=null", "callbacks.checkpoint.every_steps=2")

WORSE = (10.0, 9.5, 9.0, 9.2, 9.3)
"""Of the base and four epochs."""


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl")
    return here


@pytest.fixture
def measured(monkeypatch):
    """Lets the held-out split say what a test wants: the base first, then each epoch."""

    def script(*losses):
        said = {}
        real = FineTuningModule._note_held_out

        def note(self, means):
            if self.cursor.total not in said:
                said[self.cursor.total] = losses[len(said)]
            real(self, means | {"loss": said[self.cursor.total]})

        monkeypatch.setattr(FineTuningModule, "_note_held_out", note)

    return script


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def one_epoch(rows):
    """The adapter after the first epoch, from a run that has no other."""
    run(*LONG, "stage.main.epochs=1", "name=one")
    return adapter(rows / "outputs/one")


def test_a_stage_whose_last_epoch_is_worse_than_the_base_hands_on_its_best_one(rows, measured, capsys):
    best = one_epoch(rows)
    measured(10.762, 10.689, 10.887, 10.9, 10.8)
    assert run(*FOUR) == 10.689
    folder = rows / "outputs/run"
    assert same(adapter(folder), best)
    finished = events(folder, "stage_finished")[-1]
    assert [finished[key] for key in ("kept", "loss", "epoch", "epochs", "total")] == [True, 10.689, 1, 4, 20]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["best_stage"], summary["loss"], summary["stages"]["main"]["epoch"]) == ("main", 10.689, 1)
    assert capsys.readouterr().out.count("main (epoch 1 of 4)") == 1


def test_a_stage_is_refused_only_if_its_best_epoch_is_not_better(rows, measured, capsys):
    measured(10.0, 10.3, 10.1, 10.2, 10.4)
    assert run(*FOUR) == 10.0
    finished = events(rows / "outputs/run", "stage_finished")[-1]
    assert [finished[key] for key in ("kept", "loss", "epoch")] == [False, 10.1, 2]
    assert same(adapter(rows / "outputs/run"), adapter(rows / "outputs/run/stages/00-base"))
    said = capsys.readouterr().out
    assert "main: held-out loss 10.1000 (epoch 2 of 4), loss above 10.0000: its adapter is not used" in said


def test_early_stopping_hands_on_the_best_epoch(rows, measured):
    best = one_epoch(rows)
    measured(10.762, 10.689, 10.887, 10.9, 1.0)
    run(*LONG, "stage.main.epochs=9", "callbacks.early_stopping.patience=2")
    folder = rows / "outputs/run"
    assert same(adapter(folder), best)
    finished = events(folder, "stage_finished")[-1]
    assert [finished[key] for key in ("kept", "epoch", "epochs")] == [True, 1, 3]


def test_the_next_stage_begins_with_the_best_epoch(rows, measured):
    words = ("stage=main,cooldown", "stage.cooldown.lr=1e-3", "stage.cooldown.epochs=1")
    run(*LONG, *words, "stage.main.epochs=1", "name=one")
    measured(9.0, 8.0, 8.1, 8.2, 8.3, 7.0)
    run(*FOUR, *words)
    assert same(adapter(rows / "outputs/run"), adapter(rows / "outputs/one"))


def test_a_measurement_at_the_end_alone_takes_the_last_epoch(rows):
    run(*FOUR, "stage.main.validation=end")
    assert "epoch" not in events(rows / "outputs/run", "stage_finished")[-1]


@pytest.mark.parametrize("words", [("callbacks.checkpoint=null",), ("callbacks.checkpoint.keep=1",)])
def test_it_is_kept_without_checkpoints_and_outlives_their_rotation(rows, measured, words):
    measured(*WORSE)
    run(*FOUR, "name=whole")
    words = [*(word for word in FOUR if "checkpoint" not in word), *words]
    run(*words)
    assert same(adapter(rows / "outputs/run"), adapter(rows / "outputs/whole"))
    whole, mine = (events(rows / "outputs" / name, "stage_finished")[-1] for name in ("whole", "run"))
    assert whole["epoch"] == mine["epoch"] == 2
    assert whole["loss"] == mine["loss"]


def test_a_disk_that_fails_every_checkpoint_does_not_lose_the_best_epoch(rows, measured, monkeypatch):
    measured(*WORSE)
    run(*FOUR, "name=whole")

    def refused(self, step, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "save", refused)
    with pytest.warns(UserWarning, match="no checkpoint at step"):
        run(*FOUR)
    assert same(adapter(rows / "outputs/run"), adapter(rows / "outputs/whole"))


def test_resuming_from_every_checkpoint_hands_on_the_same_epoch(rows, measured, monkeypatch):
    measured(*WORSE)
    save = Checkpoints.save
    taken = count()

    def save_and_copy(self, step, state):
        path = save(self, step, state)
        shutil.copytree("outputs/whole", f"copies/{next(taken):02d}")
        return path

    monkeypatch.setattr(Checkpoints, "save", save_and_copy)
    words = (*FOUR, "callbacks.checkpoint.keep=1", "name=whole")
    run(*words)
    monkeypatch.setattr(Checkpoints, "save", save)
    whole, finished = adapter(rows / "outputs/whole"), events(rows / "outputs/whole", "stage_finished")[-1]
    copies = sorted((rows / "copies").iterdir())
    assert len(copies) > 8
    for copy in copies[3::4]:
        shutil.rmtree("outputs/whole")
        shutil.copytree(copy, "outputs/whole")
        run(*words)
        assert same(adapter(rows / "outputs/whole"), whole), copy.name
        again = events(rows / "outputs/whole", "stage_finished")[-1]
        assert (again["epoch"], again["loss"]) == (finished["epoch"], finished["loss"])


def test_damaged_weights_of_the_best_epoch_are_made_once_more(rows, measured, monkeypatch):
    best = one_epoch(rows)
    measured(10.0, 9.0, 9.1, 9.2, 9.3)
    take, damaged = FineTuningModule.take_best, []

    def damage_first(self):
        if self.cursor.total and not damaged:
            damaged.append(self.best.now.total)
            file = self.run.checkpoints.root / f"step-{damaged[0]:08d}/state.pt"
            file.write_bytes(file.read_bytes()[:-1] + b"?")
        return take(self)

    monkeypatch.setattr(FineTuningModule, "take_best", damage_first)
    run(*FOUR)
    assert damaged == [5]
    assert same(adapter(rows / "outputs/run"), best)
    assert [e["to"] for e in events(rows / "outputs/run", "rollback")] == [0]
    assert events(rows / "outputs/run", "checkpoint_damaged")


def test_rotation_spares_what_a_kept_checkpoint_names_as_the_best(tmp_path):
    with Run(tmp_path) as opened:
        checkpoints = opened.checkpoints
        checkpoints.keep = 2
        for step, bests in ((1, []), (2, [2]), (3, [2]), (4, [2, 4]), (5, [2, 4]), (6, [2, 4]), (7, [2, 4])):
            checkpoints.bests = bests
            checkpoints.save(step, {"cursor": {"total": step}})
        assert checkpoints.steps() == [4, 6, 7]
        checkpoints.bests = [2, 4, 8]
        checkpoints.save(8, {"cursor": {"total": 8}})
        assert checkpoints.steps() == [4, 7, 8]  # should 8 turn out damaged, 7 is taken, whose best is 4
