"""Losses that are no numbers, explode or drift away: never learnt from, and a way back that a crash cannot change."""

import math

import pytest
import torch
from harness import assert_same, outcome, said, train
from tiny_runs import events, run, steps, write_rows

from hafs.core.errors import Diverged
from hafs.runs.run_folder import Checkpoints
from hafs.training.module import FineTuningModule

LONG = (
    "stage=main",
    "stage.main.samples=30",
    "stage.main.batch_size=2",
    "stage.main.epochs=2",
    "callbacks.checkpoint.every_steps=3",
    "callbacks.loss_guard.window=4",
)
FROM = 12
"""The first bad step of the run."""
KINDS = {
    "nan": lambda nats: nats * math.nan,
    "inf": lambda nats: nats * math.inf,
    "minus inf": lambda nats: -nats * math.inf,
    "10x": lambda nats: nats * 10.5,
    "100x": lambda nats: nats * 100.0,
}


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl")
    return here


def spoil(monkeypatch, change, *, when):
    """Change the loss, and with it the gradients, of the steps for which `when(module)`."""
    loss_of, step = FineTuningModule.loss_of, FineTuningModule.training_step
    learning = []

    def spoilt(module, packed):
        loss = loss_of(module, packed)
        return loss._replace(nats=change(loss.nats)) if learning and when(module) else loss

    def in_a_step(module, *args):
        learning.append(True)  # neither the rehearsal nor a measurement
        step(module, *args)
        learning.clear()

    monkeypatch.setattr(FineTuningModule, "loss_of", spoilt)
    monkeypatch.setattr(FineTuningModule, "training_step", in_a_step)


def only(first, last=None):
    return lambda module: first <= module.cursor.total <= (last or first) and not module.rollbacks


def watch_weights(monkeypatch):
    """Checksums of the weights before each step, by step of the run; the last telling of each."""
    seen, step = {}, FineTuningModule.training_step

    def watched(module, *args):
        weights = torch.cat([p.detach().flatten() for p in module.trainable().values()])
        assert weights.isfinite().all()
        seen[module.cursor.total] = float(weights.double().abs().sum())
        step(module, *args)

    monkeypatch.setattr(FineTuningModule, "training_step", watched)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_step_is_never_applied_and_its_samples_are_named(rows, kind, monkeypatch):
    spoil(monkeypatch, KINDS[kind], when=only(FROM))
    weights = watch_weights(monkeypatch)
    run(*LONG)
    assert weights[FROM] == weights[FROM + 1] != weights[FROM + 2]
    (skipped,) = events(rows / "outputs/run", "skipped")
    assert (skipped["total"], len(skipped["samples"])) == (FROM, 2)
    assert len(steps(rows / "outputs/run")) == 30
    assert not events(rows / "outputs/run", "rollback")


def test_nan_gradients_under_a_good_loss_are_not_applied(rows, monkeypatch):
    backward = FineTuningModule.manual_backward

    def spoilt(module, loss):
        backward(module, loss)
        if only(FROM)(module):
            next(iter(module.trainable().values())).grad[0] = math.nan

    monkeypatch.setattr(FineTuningModule, "manual_backward", spoilt)
    weights = watch_weights(monkeypatch)
    run(*LONG)
    assert weights[FROM] == weights[FROM + 1] != weights[FROM + 2]
    assert "gradients" in events(rows / "outputs/run", "skipped")[0]["why"]


def test_bad_steps_in_a_row_go_back_to_a_proven_checkpoint_with_half_the_rate_and_leave_those_steps_out(
    rows, monkeypatch
):
    run(*LONG, "name=whole")
    spoil(monkeypatch, KINDS["nan"], when=only(FROM, FROM + 2))
    run(*LONG)
    (back,) = events(rows / "outputs/run", "rollback")
    assert back["to"] == 6  # the newest with four good steps behind it: 12 - 4 = 8, and a checkpoint every 3
    assert back["left_out"] == [FROM, FROM + 2]
    whole, got = steps(rows / "outputs/whole"), steps(rows / "outputs/run")
    assert [e["samples"] for e in got] == [e["samples"] for e in whole]
    assert [e["lr"] for e in got[:6]] == [e["lr"] for e in whole[:6]]
    assert [e["lr"] for e in got[6:]] == [e["lr"] / 2 for e in whole[6:]]
    assert [e["total"] for e in got if e["skipped"]] == [FROM, FROM + 1, FROM + 2]


def nan_in_three_steps():
    """Three bad steps, in a process of its own, as long as nothing was decided about them."""
    loss_of = FineTuningModule.loss_of

    def spoilt(module, packed):
        loss = loss_of(module, packed)
        bad = torch.is_grad_enabled() and only(FROM, FROM + 2)(module)
        return loss._replace(nats=loss.nats * math.nan) if bad else loss

    FineTuningModule.loss_of = spoilt


def test_kills_during_a_rollback_change_nothing(rows):
    assert train(rows, *LONG, "name=whole", patch=nan_in_three_steps) == 0, said(rows)[-2000:]
    whole, got = rows / "outputs/whole", rows / "outputs/run"
    assert len(events(whole, "rollback")) == 1
    for place in (
        "text.written@rollbacks.json",
        "text.synced@rollbacks.json",
        "text.renamed@rollbacks.json",
        "clear.removed@step-00000009",
        "commit.synced@step-00000009",
    ):
        code = train(rows, *LONG, patch=nan_in_three_steps, failpoints=f"{place}:kill")
        assert code == -9, f"{place} was not reached:\n{said(rows)[-2000:]}"
    assert train(rows, *LONG, patch=nan_in_three_steps) == 0, said(rows)[-2000:]
    assert_same(got, outcome(whole))
    (survived,) = [line for line in said(rows).splitlines() if line.startswith("survived")][1:]
    assert "5 interruptions" in survived and "1 rollback," in survived


def test_a_checkpoint_made_after_a_decision_that_is_gone_is_refused(rows):
    failpoints = "step.done@step-00000014:kill"
    assert train(rows, *LONG, patch=nan_in_three_steps, failpoints="text.renamed@rollbacks.json:kill") == -9
    assert train(rows, *LONG, failpoints=failpoints) == -9, said(rows)[-2000:]
    (rows / "outputs/run/rollbacks.json").unlink()
    assert train(rows, *LONG) == 2
    assert "was written after a rollback that is missing from outputs/run/rollbacks.json" in said(rows)


def test_a_loss_that_drifts_away_step_by_small_step_is_noticed(rows, monkeypatch):
    def drifting(module):
        return module.cursor.total >= FROM and not module.rollbacks

    at = {}

    def grow(nats):
        return nats * 1.25 ** at["steps"]

    step = FineTuningModule.training_step

    def counted(module, *args):
        at["steps"] = module.cursor.total - FROM
        step(module, *args)

    monkeypatch.setattr(FineTuningModule, "training_step", counted)
    spoil(monkeypatch, grow, when=drifting)
    run(*LONG)
    (back,) = events(rows / "outputs/run", "rollback")
    assert "drifted" in back["why"]
    assert back["to"] <= FROM
    assert not [e for e in events(rows / "outputs/run", "skipped") if e["total"] < FROM]


def test_after_the_last_way_back_the_run_gives_up_with_exit_code_3_again_and_again(rows, monkeypatch):
    spoil(monkeypatch, KINDS["nan"], when=lambda module: module.cursor.total >= FROM)
    for _ in range(2):
        with pytest.raises(Diverged, match="diverged at step") as error:
            run(*LONG)
        assert error.value.exit_code == 3
        assert "stage.main.lr" in error.value.hint
    assert len(events(rows / "outputs/run", "rollback")) == 2
    assert max(Checkpoints(rows / "outputs/run/checkpoints").steps()) > 0


def test_before_anything_proved_healthy_the_stage_begins_again(rows, monkeypatch):
    spoil(monkeypatch, KINDS["nan"], when=only(1, 3))
    run(*LONG)
    (back,) = events(rows / "outputs/run", "rollback")
    assert back["to"] == 0
    assert len(steps(rows / "outputs/run")) == 30


def test_the_proven_checkpoint_outlives_the_rotation(tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    kept.proven = 4
    for step in range(2, 20, 2):
        kept.save(step, {"step": step})
    assert kept.steps() == [4, 16, 18]


def test_how_many_checkpoints_are_kept_is_said_by_the_callback_alone(tmp_path):
    kept = Checkpoints(tmp_path)
    for step in range(2, 14, 2):
        kept.save(step, {"step": step})
    assert kept.steps() == [2, 4, 6, 8, 10, 12]
    kept.keep = 1
    kept.save(14, {"step": 14})
    assert kept.steps() == [14]


def healthy_run(seed, *, epochs):
    """Steps with one sample each: losses as uneven as they get without anything being wrong."""
    uneven = ("stage.main.batch_size=1", "stage.main.samples=30", f"stage.main.epochs={epochs}", "stage.main.lr=1e-2")
    run("stage=main", *uneven, "callbacks.early_stopping=null", f"seed={seed}", f"name=run{seed}")


def refused(folder):
    return len(events(folder, "skipped")), len(events(folder, "step")), len(events(folder, "rollback"))


def test_a_healthy_run_with_uneven_steps_loses_none_of_them(rows):
    healthy_run(1, epochs=4)
    assert refused(rows / "outputs/run1")[::2] == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_healthy_runs_lose_at_most_one_step_in_ten_thousand(rows):
    counts = []
    for seed in range(20):
        healthy_run(seed, epochs=17)
        counts.append(refused(rows / f"outputs/run{seed}"))
    dropped, total, rollbacks = (sum(column) for column in zip(*counts, strict=True))
    assert total >= 10_000
    assert dropped <= total / 10_000
    assert rollbacks == 0
