"""Training in fp16, for GPUs without bf16: the loss is scaled, and an overflow repeats the step with half the scale."""

import json

import pytest
import torch
from tiny_runs import adapter, events, run, steps, write_rows

from hafs.core import failpoints
from hafs.modeling import hardware
from hafs.training.loss_scale import GROW_AFTER, LARGEST, START, LossScale


def scale(**more):
    shrunk = []
    return LossScale(enabled=True, on_shrink=shrunk.append, **more), shrunk


def test_gradients_come_back_as_without_a_scale():
    made, shrunk = scale()
    true = [torch.randn(3, 4), torch.randn(5)]
    scaled = [x * START for x in true]
    assert made.unscaled(scaled, loss=1.0)
    assert all(torch.equal(a, b) for a, b in zip(scaled, true, strict=True))
    assert shrunk == []


def test_an_overflow_asks_for_the_step_again_and_a_loss_that_is_nan_does_not():
    made, shrunk = scale()
    assert not made.unscaled([torch.tensor([1.0, float("inf")])], loss=2.0)
    assert shrunk == [START / 2]
    assert made.unscaled([torch.tensor([float("nan")])], loss=float("nan")), "the loss guard decides"
    made.value = 1.0
    assert made.unscaled([torch.tensor([float("nan")])], loss=2.0), "no smaller scale is left"


def test_the_scale_grows_after_many_good_steps_and_never_beyond_its_bound():
    made, _ = scale()
    for _ in range(GROW_AFTER):
        made.unscaled([torch.ones(2)], loss=1.0)
    assert made.value == 2 * START
    made.value, made.steps = LARGEST, GROW_AFTER - 1
    made.unscaled([torch.ones(2)], loss=1.0)
    assert made.value == LARGEST
    again, _ = scale()
    again.restore(json.loads(json.dumps(made.state())))
    assert (again.value, again.steps) == (made.value, made.steps)


def test_nothing_is_scaled_in_other_types():
    made = LossScale(enabled=False, on_shrink=None)
    gradients = [torch.tensor([float("inf")])]
    assert made.value == 1.0
    assert made.unscaled(gradients, loss=1.0)
    made.restore({"value": 8.0, "steps": 3})
    assert made.value == 1.0


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl")
    return here


def test_a_run_in_fp16_learns_what_a_run_in_fp32_learns_and_repeats_what_overflows(rows, monkeypatch):
    monkeypatch.setattr("hafs.training.loss_scale.START", 2.0**40)  # far too much at first
    run("stage=warmup,main", "precision=fp16", "name=half")
    run("stage=warmup,main", "name=full")
    half, full = (steps(rows / f"outputs/{name}") for name in ("half", "full"))
    assert [s["samples"] for s in half] == [s["samples"] for s in full]
    assert [s["loss"] for s in half] == pytest.approx([s["loss"] for s in full], rel=0.01)
    shrunk = [e["scale"] for e in events(rows / "outputs/half", "loss_scale")]
    assert len(shrunk) > 5
    assert shrunk == [2.0**40 / 2 ** (i + 1) for i in range(len(shrunk))]
    assert not events(rows / "outputs/half", "skipped")
    assert not events(rows / "outputs/full", "loss_scale")


def test_a_run_in_fp16_continues_bit_for_bit(rows):
    words = ["stage=main", "precision=fp16", "callbacks.checkpoint.every_steps=1"]
    run(*words, "name=whole")
    failpoints.arm("step.done@step-00000002:ENOSPC")
    with pytest.raises(OSError, match="injected"):
        run(*words, "name=torn")
    failpoints.arm("")
    run(*words, "name=torn")
    assert events(rows / "outputs/torn", "resumed")
    one, other = (adapter(rows / f"outputs/{name}") for name in ("whole", "torn"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("capability", "dtype"), [((8, 9), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")])
def test_a_gpu_computes_in_the_fastest_type_that_it_has(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: capability >= (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    found, _ = hardware.precision("auto", torch.device("cuda", 0))
    assert str(found) == f"torch.{dtype}"
