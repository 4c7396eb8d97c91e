"""In front of a run: the plan is printed, and what would fail later fails first."""

import hashlib
import shutil
import sys
from collections import namedtuple

import pytest
import torch
from tiny_runs import COMMON, adapter, events, run, steps, with_common, write_rows

from hafs import train as command
from hafs.config import compose
from hafs.core.errors import ConfigError, DataError, RunError
from hafs.planning import preflight
from hafs.planning.preflight import knows

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl", count=30)
    return here


def short(*words):
    return run("stage=warmup", "adapter.lora_dropout=0.1", *words)


def test_the_plan_stands_first_and_a_rehearsal_changes_nothing(rows, capsys):
    short("name=with")
    said = capsys.readouterr().out
    heads = [line.split()[0] for line in said.splitlines() if line.strip()]
    order = ["model", "precision", "adapter", "memory", "sequence", "tokens", "time", "stage", "loaded"]
    places = [heads.index(head) for head in order]
    assert places == sorted(places)
    assert said.count("in training") == 2  # the plan's, and the loaded net's
    short("name=without", "callbacks.rehearsal.enabled=false")
    assert len(events(rows / "outputs/with", "rehearsed")) == 1
    assert not events(rows / "outputs/without", "rehearsed")
    assert steps(rows / "outputs/with") == steps(rows / "outputs/without")
    one, other = (adapter(rows / f"outputs/{name}") for name in ("with", "without"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert adapter_hash(rows / "outputs/with") == adapter_hash(rows / "outputs/without")
    assert not list((rows / "outputs/with/checkpoints").glob(".draft*"))


def adapter_hash(folder):
    return hashlib.sha256((folder / "adapter/adapter_model.safetensors").read_bytes()).hexdigest()


def no_step(folder):
    return not (folder / "events.jsonl").exists() or not events(folder, "step")


def test_a_full_disk_is_told_before_the_model_is_loaded(rows, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000, 990, 10))
    with pytest.raises(RunError, match="MB for checkpoints and adapters, and 0 MB are free") as told:
        short()
    assert "callbacks.checkpoint.keep=1" in told.value.hint
    assert no_step(rows / "outputs/run")


def test_too_little_memory_is_told_with_who_holds_it(rows, monkeypatch):
    monkeypatch.setattr(preflight, "_free", lambda _: (1000, ["python (41, 9000 MiB)"]))
    with pytest.raises(RunError, match=r"used by python \(41, 9000 MiB\)"):
        short()


def test_a_save_that_fails_is_told_before_the_first_step(rows, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hafs.training.callbacks.rehearsal.torch.save", full)
    with pytest.raises(RunError, match="a checkpoint cannot be written"):
        short()
    assert no_step(rows / "outputs/run")


def test_gradients_that_are_not_finite_are_told_before_the_first_step(rows, monkeypatch):
    from hafs.training.callbacks import rehearsal

    update = rehearsal._update_and_save

    def poisoned(module):
        next(iter(module.trainable().values())).grad.fill_(float("nan"))
        update(module)

    monkeypatch.setattr(rehearsal, "_update_and_save", poisoned)
    with pytest.raises(DataError, match="contain NaN or infinity before the first update"):
        short()
    assert no_step(rows / "outputs/run")


def test_answers_without_an_end_are_refused(rows, monkeypatch):
    monkeypatch.setattr(preflight, "end_tokens", lambda _: [-1])
    with pytest.raises(
        DataError, match="the last supervised token is '<|im_end|>', not an end token".replace("|", r"\|")
    ):
        short()


def test_a_logger_without_its_key_is_refused(rows, monkeypatch, tmp_path):
    node = compose("train", [*COMMON, "logger=wandb"]).logger
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        preflight.logger_key(node)
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_API_KEY", "a-test")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            preflight.logger_key(node)
    preflight.logger_key(compose("train", COMMON).get("logger"))


def _little_disk(monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: Usage(0, 0, 600_000)
    )  # keep=1 needs 540,672, keep=3 needs 811,008


def _little_memory(monkeypatch):
    monkeypatch.setattr(preflight, "_free", lambda _: (13_000_000, []))  # nf4 holds 12,843,120 bytes, none 13,255,936


def _nan_in_bf16(monkeypatch):
    from hafs.training.callbacks import rehearsal

    update = rehearsal._update_and_save

    def poisoned(module):
        if next(module.net.parameters()).dtype == torch.bfloat16:
            next(iter(module.trainable().values())).grad.fill_(float("nan"))
        update(module)

    monkeypatch.setattr(rehearsal, "_update_and_save", poisoned)


def _no_key(monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "none")


def typed(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["hafs.train", *with_common("stage=warmup", *words)])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        command.main()
    return left.value.code, capsys.readouterr().err.strip().splitlines()


@pytest.mark.parametrize(
    ("words", "spoil", "mends"),
    [
        ([], _little_disk, "callbacks.checkpoint.keep=1"),
        ([], _little_memory, "quant=nf4"),
        (["precision=bf16"], _nan_in_bf16, "precision=fp32"),
        (["logger=wandb"], _no_key, "logger=tensorboard"),
    ],
)
def test_a_failure_is_one_line_and_the_override_of_its_hint_fixes_it(rows, monkeypatch, capsys, words, spoil, mends):
    spoil(monkeypatch)
    code, (fact, hint) = typed(monkeypatch, capsys, *words)
    assert code == 2
    assert fact.startswith("hafs: ")
    assert hint.startswith("-> ")
    assert mends in hint
    assert no_step(rows / "outputs/run")
    assert typed(monkeypatch, capsys, *words, mends, "name=mended") == (0, [])
    assert not no_step(rows / "outputs/mended")


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 9), ["sm_80", "sm_90"], True),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_90", "sm_120"], True),
        ((7, 5), ["sm_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((8, 0), ["sm_86"], False),
        ((8, 6), [], False),
    ],
)
def test_a_build_of_torch_knows_a_gpu_or_does_not(capability, built, runs):
    assert knows(capability, built) is runs
