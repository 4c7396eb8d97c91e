"""In front of a run: the plan is printed, and what would fail later fails first."""

import shutil
from collections import namedtuple

import pytest
import torch
from tiny_runs import COMMON, adapter, events, run, steps, write_rows

from hafs import preflight
from hafs.config import compose
from hafs.errors import ConfigError, DataError, RunError
from hafs.preflight import knows

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
    order = ["model", "precision", "adapter", "memory", "row", "tokens", "time", "stage", "loaded"]
    places = [heads.index(head) for head in order]
    assert places == sorted(places)
    assert said.count("in training") == 2  # the plan's, and the loaded net's
    short("name=without", "callbacks.rehearsal.enabled=false")
    assert len(events(rows / "outputs/with", "rehearsed")) == 1
    assert not events(rows / "outputs/without", "rehearsed")
    assert steps(rows / "outputs/with") == steps(rows / "outputs/without")
    one, other = (adapter(rows / f"outputs/{name}") for name in ("with", "without"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list((rows / "outputs/with/checkpoints").glob(".draft*"))


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
    with pytest.raises(RunError, match=r"held by python \(41, 9000 MiB\)"):
        short()


def test_a_save_that_fails_is_told_before_the_first_step(rows, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hafs.callbacks.rehearsal.torch.save", full)
    with pytest.raises(RunError, match="a checkpoint cannot be written"):
        short()
    assert no_step(rows / "outputs/run")


def test_gradients_that_are_not_finite_are_told_before_the_first_step(rows, monkeypatch):
    from hafs.callbacks import rehearsal

    update = rehearsal._update_and_save

    def poisoned(module):
        next(iter(module.trainable().values())).grad.fill_(float("nan"))
        update(module)

    monkeypatch.setattr(rehearsal, "_update_and_save", poisoned)
    with pytest.raises(DataError, match="not finite, before anything was learnt"):
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
