"""The preference stage: TRL's losses and gradients, pairs as rows, and a run that is resumed bit for bit."""

import json
import shutil

import numpy as np
import pytest
import torch
import trl_pairs
from safetensors.torch import load_file
from test_module import apart, gradients, module, out_of_memory_above  # noqa: F401
from tiny_runs import events, run, steps

from hafs.core.errors import ConfigError
from hafs.data.samples import AnswerPair, Sample
from hafs.training.preference import preference
from hafs.training.stage import Stage

GOLDEN = json.loads(trl_pairs.GOLDEN.read_text())


@pytest.fixture(scope="module")
def config():
    return trl_pairs.configured()


def half(name, prompt, answer):
    return Sample(
        name, np.array(prompt + answer, np.int32), np.array([False] * len(prompt) + [True] * len(answer), bool)
    )


@pytest.fixture
def pairs():
    return [
        AnswerPair(str(i), half(str(i), prompt, chosen), half(str(i), prompt, rejected))
        for i, (prompt, chosen, rejected) in enumerate(trl_pairs.token_pairs())
    ]


def preferring(module, loss, **changed):  # noqa: F811
    """The module in a preference stage that has begun, some steps away from its start."""
    chosen = preference(**{"loss": loss, "beta": trl_pairs.BETA, "label_smoothing": 0.0} | changed)
    stage = Stage(
        name="preference", samples=None, epochs=1, lr=0.1, batch_size=4, schedule="constant", warmup_steps=0,
        validation="end", preference=chosen, rows="all",
    )  # fmt: skip
    trl_pairs.start(module.trainable())
    module.begin(stage, 1, 4)
    trl_pairs.perturb(module.trainable())
    return module


@pytest.mark.parametrize("micro_batch_tokens", [1000, 60, 1])
@pytest.mark.parametrize("loss", ["dpo", "orpo"])
def test_loss_and_gradients_are_trls_however_the_pairs_are_packed(module, pairs, loss, micro_batch_tokens):  # noqa: F811
    preferring(module, loss)
    module.micro_batch_size.tokens = micro_batch_tokens
    total, rows = module._gradients(pairs)
    golden = GOLDEN[loss]
    assert rows == {1000: 1, 60: 2, 1: 4}[micro_batch_tokens]
    assert float(total.nats) / 4 == pytest.approx(golden["loss"], rel=1e-5)
    assert float(total.margin) / 4 == pytest.approx(golden["margin"], rel=1e-3, abs=1e-6)
    ours = trl_pairs.sketch(module.trainable())
    largest = max(abs(v) for values in golden["gradients"].values() for v in values)
    assert ours.keys() == golden["gradients"].keys()
    for name, values in ours.items():
        assert np.abs(np.subtract(values, golden["gradients"][name])).max() < 1e-5 * largest, name


def test_the_reference_is_the_model_as_the_stage_started(module, pairs):  # noqa: F811
    """Before the first step nothing differs from it: every pair costs ln 2, and its margin is zero."""
    trl_pairs.perturb(module.trainable())
    before = {name: p.detach().clone() for name, p in module.trainable().items()}
    module = preferring(module, "dpo")
    with torch.no_grad():
        for name, parameter in module.trainable().items():
            parameter.copy_(before[name])
    module.begin(module.stage, 1, 4)
    loss = module._loss_of_samples(pairs)
    assert float(loss.nats) == pytest.approx(4 * np.log(2), rel=1e-6)
    assert float(loss.margin) == pytest.approx(0, abs=1e-5)
    assert all(torch.equal(before[name], p) for name, p in module.trainable().items())


def test_label_smoothing_costs_what_conservative_dpo_says(module, pairs):  # noqa: F811
    plain = preferring(module, "dpo")._loss_of_samples(pairs)
    smooth = preferring(module, "dpo", label_smoothing=0.2)._loss_of_samples(pairs)
    assert float(smooth.nats - plain.nats) == pytest.approx(0.2 * float(plain.margin), rel=1e-4)
    with pytest.raises(ConfigError, match="no effect"):
        preference(loss="orpo", beta=0.1, label_smoothing=0.1)


def test_out_of_memory_halves_the_micro_batch_and_keeps_whole_pairs(module, pairs, monkeypatch):  # noqa: F811
    preferring(module, "dpo")
    _, whole = gradients(module, pairs, 1000)
    module.zero_grad(set_to_none=True)
    out_of_memory_above(module, 70, monkeypatch)
    module.micro_batch_size.tokens = 1000
    module._within_memory(pairs, module._gradients)
    assert module.micro_batch_size.tokens < 71
    assert apart(whole, {name: p.grad for name, p in module.trainable().items()}) < 1e-6


# whole runs ---------------------------------------------------------------------------------------------------------

WORDS = ("stage=main,preference", "stage.preference.lr=1e-2", "stage.preference.batch_size=4", "seed=3")


@pytest.fixture
def rows(here):
    """Plain rows and pairs in one file."""
    lines = [{"instruction": f"copy {i}", "output": f"the value {i * 3} into bank {i % 7}"} for i in range(30)]
    lines += [
        {"prompt": f"move {i} on", "chosen": f"to place {i % 5} of 9", "rejected": f"never ever {i % 3}"}
        for i in range(24)
    ]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return here


def test_a_preference_stage_learns_to_rank_and_a_resume_from_each_checkpoint_gives_the_same_bits(rows, monkeypatch):
    from hafs.runs.checkpoints import Checkpoints

    real = Checkpoints.save

    def save_and_copy(self, step, state):
        made = real(self, step, state)
        shutil.copytree(self.root.parent, rows / f"at-{step:02d}", ignore=shutil.ignore_patterns(".lock"))
        return made

    monkeypatch.setattr(Checkpoints, "save", save_and_copy)
    words = (*WORDS, "callbacks.checkpoint.every_steps=2", "callbacks.rehearsal.enabled=false")
    run(*words)
    monkeypatch.setattr(Checkpoints, "save", real)
    folder = rows / "outputs/run"
    whole, weights = steps(folder), load_file(folder / "adapter/adapter_model.safetensors")
    mine = [step for step in whole if step["stage"] == "preference"]
    assert mine[-1]["reward_margin"] > 0 == mine[0]["reward_margin"]
    assert all("reward_margin" not in step for step in whole if step["stage"] == "main")
    measured = events(folder, "held_out")[-1]
    assert measured["preference_loss"] < np.log(2)
    assert measured["reward_accuracy"] > 0.5
    assert measured["pairs"] >= 1
    for at in [path for path in sorted(rows.glob("at-*")) if int(path.name[3:]) > mine[0]["total"]]:
        shutil.rmtree(folder)
        shutil.copytree(at, folder)
        run(*words)
        assert steps(folder) == whole
        again = load_file(folder / "adapter/adapter_model.safetensors")
        assert all(torch.equal(weights[name], again[name]) for name in weights), at


def test_a_preference_stage_that_ranks_worse_is_not_used(here, capsys):
    """Which answer is better is chance, so what it learns of the pairs is wrong for others."""
    side = np.random.default_rng(0).integers(0, 2, 60)
    lines = [
        {"prompt": f"take {i} or the {i * 7}", "chosen": ("left", "right")[s], "rejected": ("right", "left")[s]}
        for i, s in enumerate(side.tolist())
    ]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    fast = ("stage.preference.lr=1e-2", "stage.preference.epochs=6", "stage.preference.preference.beta=5")
    run("stage=preference", "dataset.val_fraction=0.4", *fast)
    assert "its adapter is not used" in capsys.readouterr().out


def test_a_preference_stage_without_pairs_is_refused_before_a_model_is_loaded(here, monkeypatch):
    from hafs.modeling.base_model import Model

    monkeypatch.setattr(Model, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    lines = [{"instruction": f"copy {i}", "output": f"the value {i * 3}"} for i in range(30)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(ConfigError, match="'preference' compares two answers"):
        run("stage=preference")
