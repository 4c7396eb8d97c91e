"""Out of memory anywhere in a run: the same samples, the same rates, the same weights to rounding."""

import pytest
import torch
from tiny_runs import adapter, events, run, steps, write_rows

from hafs.core.errors import HafsError, Interrupted
from hafs.modeling.generation import Decoder
from hafs.training.module import FineTuningModule

ONE_STAGE = ("stage=main", "stage.main.samples=30", "stage.main.epochs=2", "adapter.lora_dropout=0")
MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB"
AT = 3
"""The optimizer step of the run that memory runs out in."""


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl")
    return here


class Shortage:
    """Raises in one place of one step, as often as asked."""

    def __init__(self, *, at, times):
        self.at, self.left = at, times

    def maybe(self, module):
        if module.cursor.total == self.at and self.left and getattr(module, "stage", None):
            self.left -= 1
            raise RuntimeError(MESSAGE)


def short_of(place, shortage, monkeypatch):
    """Make memory run out in a place of the step."""
    if place == "optimizer":
        step = torch.optim.AdamW.step

        def halfway(optimizer, *args, **kwargs):
            if not hasattr(optimizer, "hafs_module"):  # the rehearsal's own
                return step(optimizer, *args, **kwargs)
            if shortage.left and optimizer.hafs_module.cursor.total == shortage.at:
                weights = [p for group in optimizer.param_groups for p in group["params"]]
                with torch.no_grad():
                    for weight in weights[: len(weights) // 2]:
                        weight.add_(1.0)  # some weights have been changed when memory runs out
            shortage.maybe(optimizer.hafs_module)
            return step(optimizer, *args, **kwargs)

        configure = FineTuningModule.configure_optimizers

        def known(module):
            optimizer = configure(module)
            optimizer.hafs_module = module
            return optimizer

        monkeypatch.setattr(FineTuningModule, "configure_optimizers", known)
        monkeypatch.setattr(torch.optim.AdamW, "step", halfway)
        return
    name = {"forward": "loss_of", "backward": "manual_backward", "evaluation": "_loss_of_samples"}[place]
    whole = getattr(FineTuningModule, name)

    def limited(module, *args, **kwargs):
        shortage.maybe(module)
        return whole(module, *args, **kwargs)

    monkeypatch.setattr(FineTuningModule, name, limited)


def told(folder):
    """What must not depend on how a step was split into rows."""
    return [{k: e[k] for k in ("stage", "epoch", "step", "total", "samples", "lr", "tokens")} for e in steps(folder)]


@pytest.mark.parametrize("place", ["forward", "backward", "optimizer", "evaluation"])
def test_the_run_ends_as_if_memory_had_been_there(rows, place, monkeypatch):
    words = (*ONE_STAGE, "callbacks.checkpoint.every_steps=2")
    run(*words)
    at = 4 if place == "evaluation" else AT  # an epoch has four steps; then comes an evaluation
    short_of(place, shortage := Shortage(at=at, times=1), monkeypatch)
    run(*words, "name=short")
    assert shortage.left == 0
    whole, short = rows / "outputs/run", rows / "outputs/short"
    assert told(short) == told(whole)
    assert [e["loss"] for e in steps(short)] == pytest.approx([e["loss"] for e in steps(whole)], abs=2e-6)
    expected, got = adapter(whole), adapter(short)
    assert all(torch.allclose(got[name], expected[name], atol=1e-4) for name in expected)
    assert [e["total"] for e in events(short, "out_of_memory")] == [at]


@pytest.mark.long
def test_out_of_memory_after_five_hundred_steps_is_survived(rows, monkeypatch):
    long = (*ONE_STAGE, "stage.main.epochs=21", "stage.main.batch_size=1", "callbacks.early_stopping=null")
    short_of("backward", shortage := Shortage(at=500, times=1), monkeypatch)
    with pytest.raises(HafsError, match="with a single sample"):  # one sample a step cannot be split
        run(*long)
    assert shortage.left == 0
    two = (*long, "stage.main.batch_size=2", "stage.main.epochs=40", "name=two")
    short_of("backward", Shortage(at=500, times=1), monkeypatch)
    run(*two)
    assert [e["total"] for e in events(rows / "outputs/two", "out_of_memory")] == [500]
    assert len(steps(rows / "outputs/two")) == 600


def test_in_the_optimizers_first_step_the_stage_begins_again(rows, monkeypatch):
    run(*ONE_STAGE)
    short_of("optimizer", Shortage(at=0, times=1), monkeypatch)
    run(*ONE_STAGE, "name=short")
    assert told(rows / "outputs/short") == told(rows / "outputs/run")
    (back,) = events(rows / "outputs/short", "rollback")
    assert (back["to"], back["rate"], back["left_out"]) == (0, 1.0, None)


def test_repeated_halving_ends_at_one_sample_per_sequence_with_a_hint(rows, monkeypatch):
    short_of("backward", Shortage(at=AT, times=99), monkeypatch)
    with pytest.raises(HafsError, match="with a single sample") as error:
        run(*ONE_STAGE)
    assert "dataset.max_length" in error.value.hint
    sizes = [e["micro_batch_tokens"] for e in events(rows / "outputs/run", "out_of_memory")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) >= 3


def test_the_size_that_was_found_survives_a_resume(rows, monkeypatch):
    short_of("forward", Shortage(at=1, times=2), monkeypatch)
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Interrupted):
            run(*ONE_STAGE)
    run(*ONE_STAGE)
    found = {e["total"]: e["rows"] for e in steps(rows / "outputs/run")}
    assert found[0] == 1
    assert all(found[total] > 1 for total in (1, 2, 3, 4, 5, 6))


def stop_after(total, monkeypatch):
    """Ask to stop at a step's end, as a signal would."""
    step = FineTuningModule.training_step

    def stopping(module, *args):
        step(module, *args)
        if module.cursor.total == total:
            module.stop.asked = "SIGTERM"

    monkeypatch.setattr(FineTuningModule, "training_step", stopping)


def test_answers_that_do_not_fit_together_are_made_by_half_as_many_at_a_time(rows, monkeypatch):
    settings = (
        "stage=warmup",
        "show.measured=4",
        "show.prompts=2",
        "show.max_new_tokens=8",
        "dataset.val_fraction=0.2",
    )
    run(*settings)
    take = Decoder._take

    def limited(decoder, rows, logits_BV):
        if len(rows) > 2:
            raise RuntimeError(MESSAGE)
        return take(decoder, rows, logits_BV)

    monkeypatch.setattr(Decoder, "_take", limited)
    run(*settings, "name=short")
    whole, short = (
        [(e["total"], e["answer"]) for e in events(rows / "outputs" / name, "generation")] for name in ("run", "short")
    )
    assert short == whole
    assert whole
