"""One step of the real LightningModule, on the tiny model in float32."""

import weakref
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from transformers import AutoModelForCausalLM

from hafs.config import build, compose
from hafs.core.errors import HafsError
from hafs.data.samples import Sample
from hafs.modeling.packing import packed_sequence, supervised_tokens
from hafs.runs.checkpoints import Checkpoints
from hafs.training.module import FineTuningModule
from hafs.training.stage import Stage

LENGTHS = [17, 5, 40, 9, 23, 31, 8]  # seven: a short last step of a batch size of eight


@pytest.fixture(scope="module")
def config():
    return compose("train", ["model=tiny", "quant=none", "adapter.r=4"])


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    made = []
    for i, n in enumerate(LENGTHS):
        mask = np.arange(n) >= n // 2
        made.append(Sample(str(i), rng.integers(5, 40_000, n).astype(np.int32), mask))
    return made


@pytest.fixture
def module(config):
    torch.manual_seed(0)
    net = build(config.model).load(quant=build(config.quant), dtype=torch.float32, device=torch.device("cpu"))
    net = build(config.adapter).attach(net)
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    made = FineTuningModule(
        net,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        seed=7,
        micro_batch_tokens=1024,
        max_grad_norm=None,
        run=SimpleNamespace(
            event=lambda kind, **facts: made.events.append((kind, facts)), checkpoints=Checkpoints(Path("checkpoints"))
        ),
        tokenizer=None,
        stop=None,
    )
    made.events = []
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, barebones=True)
    trainer.strategy.connect(made)
    made.trainer = trainer
    stage = Stage(
        name="main", samples=None, epochs=1, lr=0.1, batch_size=8, schedule="constant", warmup_steps=0,
        validation="end", preference=None, rows="all",
    )  # fmt: skip
    made.begin(stage, 1, len(LENGTHS))
    return made


def gradients(module, samples, micro_batch_tokens):
    module.zero_grad(set_to_none=True)
    module.micro_batch_size.tokens = micro_batch_tokens
    loss, _ = module._gradients(samples)
    return float(loss.nats), {name: p.grad.clone() for name, p in module.trainable().items()}


def apart(a, b):
    """Largest difference relative to the largest gradient."""
    scale = max(float(g.abs().max()) for g in a.values())
    return max(float((a[name] - b[name]).abs().max()) for name in a) / scale


@pytest.mark.parametrize("micro_batch_tokens", [1, 40, 50, 70])
def test_packed_and_unpacked_steps_have_the_same_loss_and_gradients(module, samples, micro_batch_tokens):
    """A row of every sample by itself against all in one row, and what lies between."""
    packed_loss, packed = gradients(module, samples, 1024)
    loss, split = gradients(module, samples, micro_batch_tokens)
    assert loss == pytest.approx(packed_loss, rel=1e-6)
    assert apart(packed, split) < 1e-6


def test_a_sequences_graph_is_freed_before_the_next_forward_pass(module, samples, monkeypatch):
    """Its nodes lie between the tensors that the backward pass gave back, and keep the next row from that room."""
    graphs, alive, loss_of = [], [], FineTuningModule.loss_of

    def watched(self, packed):
        alive.append(sum(graph() is not None for graph in graphs))
        part = loss_of(self, packed)
        graphs.append(weakref.ref(part.nats))
        return part

    monkeypatch.setattr(FineTuningModule, "loss_of", watched)
    gradients(module, samples, 40)
    assert alive == [0] * len(graphs)
    assert len(graphs) > 2


def test_a_samples_loss_and_gradients_are_transformers_own(module, config, samples):
    one = samples[2]
    ids, labels = torch.from_numpy(one.tokens.astype(np.int64)), torch.full((len(one.tokens),), -100)
    labels[one.supervised] = ids[one.supervised]
    reference = build(config.model).weights.loading(AutoModelForCausalLM.from_pretrained, dtype=torch.float32)
    for parameter in module.trainable().values():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        mine = module.loss_of(packed_sequence([one])).nats / supervised_tokens([one])
        theirs = reference(input_ids=ids[None], labels=labels[None]).loss
    assert float(mine) == pytest.approx(float(theirs), rel=1e-6)


def test_every_token_of_a_step_weighs_the_same_whatever_its_sample(module, samples):
    """The mean over the step's tokens, not the mean of the samples' means."""
    with torch.no_grad():
        parts = [float(module.loss_of(packed_sequence([s])).nats) for s in samples]
    loss, _ = gradients(module, samples, 60)
    assert loss == pytest.approx(sum(parts), rel=1e-6)


def out_of_memory_above(module, limit, monkeypatch, message="CUDA out of memory. Tried to allocate 2.00 GiB"):
    real = module.loss_of

    def limited(packed):
        if len(packed.tokens_T) > limit:
            raise torch.OutOfMemoryError(message)
        return real(packed)

    monkeypatch.setattr(module, "loss_of", limited)


def test_out_of_memory_halves_the_micro_batch_and_keeps_samples_and_gradients(module, samples, monkeypatch):
    _, whole = gradients(module, samples, 1024)
    module.zero_grad(set_to_none=True)
    module.micro_batch_size.tokens = 1024
    out_of_memory_above(module, 70, monkeypatch)
    module._within_memory(samples, module._gradients)
    assert module.micro_batch_size.tokens == sum(LENGTHS) // 2
    assert apart(whole, {name: p.grad for name, p in module.trainable().items()}) < 1e-6
    assert [kind for kind, _ in module.events] == ["out_of_memory"]


def test_what_a_failed_attempt_had_added_up_is_forgotten(module, samples, monkeypatch):
    _, whole = gradients(module, samples, 70)
    module.zero_grad(set_to_none=True)
    real, calls = module.manual_backward, []

    def second_fails(loss):
        calls.append(loss)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        real(loss)

    monkeypatch.setattr(module, "manual_backward", second_fails)
    module._within_memory(samples, module._gradients)
    assert len(calls) > 2
    assert apart(whole, {name: p.grad for name, p in module.trainable().items()}) < 1e-6


def test_out_of_memory_with_one_sample_says_what_to_lower(module, samples, monkeypatch):
    out_of_memory_above(module, 30, monkeypatch)
    with pytest.raises(HafsError, match="single sample of 40 tokens") as error:
        module._within_memory(samples, module._gradients)
    assert "max_length" in error.value.hint


def test_another_error_is_not_taken_for_out_of_memory(module, samples, monkeypatch):
    monkeypatch.setattr(module, "loss_of", lambda _: (_ for _ in ()).throw(RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        module._within_memory(samples, module._gradients)


def test_a_step_without_supervised_tokens_changes_nothing(module):
    silent = [Sample("a", np.arange(5, 15).astype(np.int32), np.zeros(10, dtype=bool))]
    loss, grads = gradients(module, silent, 64)
    assert loss == 0.0
    assert all(not g.any() for g in grads.values())
