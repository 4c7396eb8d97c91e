"""Whole runs of the tiny model, through the command's own function."""

import json
import shutil
from pathlib import Path

import orjson
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from rich.console import Console
from safetensors.torch import load_file
from tiny_runs import events, run, steps, write_rows

from hafs.core.errors import ConfigError, HafsError, RunError
from hafs.runs.run_folder import Checkpoints, Run
from hafs.training.summary import show_sweep
from hafs.training.trainer import refuse_unknown_strategy

TOO_FAST = ("stage.main.lr=1.0", "max_grad_norm=null", "stage.main.warmup_steps=0", "adapter.lora_alpha=512")


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl")
    return here


def test_a_run_leaves_its_adapter_events_report_and_summary(rows):
    loss = run()
    folder = rows / "outputs/run"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["loss"] == loss < summary["base_loss"]
    assert [e["stage"] for e in events(folder, "stage_finished")] == ["base", "warmup", "main", "cooldown"]
    assert (folder / "data_report.html").exists()
    final, last = (
        load_file(folder / part / "adapter_model.safetensors") for part in ("adapter", "stages/03-cooldown/adapter")
    )
    assert all(torch.equal(final[name], last[name]) for name in last)
    assert len(steps(folder)) == 1 + 2 * 3 + 1


def test_a_run_without_a_held_out_split_says_not_measured_and_no_nan(rows, capsys):
    run("stage=main", "dataset.val_fraction=0", "dataset.test_fraction=0")
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert not [line for line in lines if "nan" in line.lower() or "across ranks" in line]
    assert "main: held-out loss not measured, the validation split is empty" in lines
    assert any("0 x validated" in line for line in lines)
    assert "| main | not measured |" in (rows / "outputs/run/adapter/README.md").read_text()
    summary = orjson.loads((rows / "outputs/run/summary.json").read_bytes())  # it takes no NaN
    assert summary["loss"] is summary["stages"]["main"]["loss"] is None
    show_sweep(Console(), rows / "outputs")
    assert "not measured" in capsys.readouterr().out


def test_each_epoch_trains_every_sample_once(rows):
    run()
    main = [e for e in steps(rows / "outputs/run") if e["stage"] == "main"]
    for epoch in (0, 1):
        ids = [i for e in main if e["epoch"] == epoch for i in e["samples"]]
        assert len(ids) == len(set(ids)) == 20
    assert {i for e in main if e["epoch"] == 0 for i in e["samples"]} == {
        i for e in main if e["epoch"] == 1 for i in e["samples"]
    }


def test_the_same_command_again_trains_nothing_and_says_the_same(rows):
    first = run()
    before = steps(rows / "outputs/run")
    assert run() == first
    assert steps(rows / "outputs/run") == before


def test_resuming_from_every_checkpoint_is_bit_for_bit_the_uninterrupted_run(rows, monkeypatch):
    dropout = ("adapter.lora_dropout=0.3", "callbacks.checkpoint.every_steps=1")
    snapshots = rows / "snapshots"
    save = Checkpoints.save

    def save_and_copy(self, step, state):
        path = save(self, step, state)
        shutil.copytree("outputs/run", snapshots / f"{step:02d}")
        return path

    monkeypatch.setattr(Checkpoints, "save", save_and_copy)
    run(*dropout)
    monkeypatch.undo()
    monkeypatch.chdir(rows)
    expected, whole = load_file("outputs/run/adapter/adapter_model.safetensors"), steps(Path("outputs/run"))
    taken = sorted(snapshots.iterdir())
    assert len(taken) == 8
    for snapshot in taken:
        shutil.rmtree("outputs/run")
        shutil.copytree(snapshot, "outputs/run")
        run(*dropout)
        got = load_file("outputs/run/adapter/adapter_model.safetensors")
        assert steps(Path("outputs/run")) == whole, snapshot.name
        assert all(torch.equal(got[name], expected[name]) for name in expected), snapshot.name


def test_dropout_changes_a_step_and_two_runs_agree(rows):
    run("adapter.lora_dropout=0.3")
    run("adapter.lora_dropout=0.3", "name=again")
    run("name=without")
    folders = [rows / "outputs" / name for name in ("run", "again", "without")]
    assert steps(folders[0]) == steps(folders[1])
    assert steps(folders[0])[-1]["loss"] != steps(folders[2])[-1]["loss"]


def test_a_stage_that_increases_the_held_out_loss_ends_the_sequence_and_is_not_used(rows, capsys):
    run(*TOO_FAST)
    folder = rows / "outputs/run"
    finished = {e["stage"]: e for e in events(folder, "stage_finished")}
    assert not finished["main"]["kept"]
    assert "cooldown" not in finished
    final, kept = (
        load_file(folder / part / "adapter_model.safetensors") for part in ("adapter", "stages/01-warmup/adapter")
    )
    assert all(torch.equal(final[name], kept[name]) for name in kept)
    assert "its adapter is not used" in capsys.readouterr().out


def test_a_worse_stage_can_be_passed_over(rows):
    run(*TOO_FAST, "on_worse=continue")
    assert [e["stage"] for e in events(rows / "outputs/run", "stage_finished")][-1] == "cooldown"


def test_full_fine_tuning_trains_every_weight(rows):
    run("adapter=none", "~adapter.r", "+adapter.r=null", "stage.main.epochs=1")
    base, tuned = (
        load_file(rows / f"outputs/run/{part}/model.safetensors") for part in ("stages/00-base/adapter", "adapter")
    )
    assert base.keys() == tuned.keys()
    assert sum(not torch.equal(base[name], tuned[name]) for name in base) == len(base)


def test_early_stopping_ends_a_stage_when_the_held_out_loss_stops_falling(rows):
    run("stage=main", "stage.main.epochs=9", "stage.main.lr=1e-9", "callbacks.early_stopping.min_delta=0.1")
    assert len(events(rows / "outputs/run", "early_stopping")) == 1
    assert max(e["epoch"] for e in steps(rows / "outputs/run")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage.main.lr=1e-5",), "stages.main.lr: 0.003 -> 1e-05"),
        (("adapter.r=8",), "adapter.r: 4 -> 8"),
        (("stage=main",), "stage: warmup,main,cooldown -> main"),
        (("seed=8",), "seed: 7 -> 8"),
    ],
)
def test_another_config_in_the_same_folder_is_refused_key_by_key(rows, words, said):
    run("stage.main.epochs=1")
    with pytest.raises(RunError) as error:
        run("stage.main.epochs=1", *words)
    assert said in str(error.value)


def test_stages_can_be_added_and_what_changes_no_result_can_be_changed(rows):
    run("stage=warmup")
    run("stage=warmup,main", "stage.main.epochs=1", "callbacks.checkpoint.every_steps=3", "callbacks.progress=null")
    assert [e["stage"] for e in events(rows / "outputs/run", "stage_finished")] == ["base", "warmup", "main"]


def test_changed_data_is_refused_with_both_hashes(rows):
    run("stage=warmup")
    before = json.loads((rows / "outputs/run/run.json").read_text())["data"]
    write_rows(rows / "rows.jsonl", count=41)
    with pytest.raises(RunError) as error:
        run("stage=warmup")
    assert before in str(error.value)
    assert json.loads((rows / "outputs/run/run.json").read_text())["data"] == before


def test_a_second_process_on_one_run_folder_is_refused(rows):
    with Run(rows / "outputs/run"), pytest.raises(RunError, match="another process"):
        run()


def test_resume_never_trains_beside_the_first_run(rows):
    run("stage=warmup")
    run("stage=warmup", "resume=never")
    assert steps(rows / "outputs/run") == steps(rows / "outputs/run-2")


def test_a_run_folder_that_was_moved_is_continued_by_its_path(rows):
    run("stage=warmup")
    (rows / "elsewhere").mkdir()
    shutil.move("outputs/run", "elsewhere/moved")
    run("stage=warmup,main", "resume=elsewhere/moved", "stage.main.epochs=1")
    assert [e["stage"] for e in events(rows / "elsewhere/moved", "stage_finished")] == ["base", "warmup", "main"]


def test_an_adapter_target_that_matches_no_layer_is_told_with_the_layers_there_are(rows):
    with pytest.raises(HafsError) as error:
        run("adapter.target_modules=[query]")
    assert "matches no layer" in str(error.value)
    assert "q_proj" in str(error.value)


def test_a_hub_name_that_cannot_be_reached_is_told_in_one_line(rows):
    with pytest.raises(HafsError) as error:
        run("model=qwen1_5b")
    assert "'Qwen/Qwen2.5-Coder-1.5B-Instruct' cannot be loaded" in error.value.fact
    assert "\n" not in error.value.fact
    assert not (rows / "outputs/run/run.json").exists()


def test_too_many_rejected_rows_stop_before_a_model_is_loaded(rows, monkeypatch):
    with (rows / "rows.jsonl").open("a") as file:
        file.write('{"instruction": "no answer"}\n' * 10)
    monkeypatch.setattr("hafs.modeling.base_model.Model.load", lambda *_, **__: pytest.fail("loaded a model"))
    with pytest.raises(HafsError, match="rejected"):
        run()


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_taken(rows, monkeypatch):
    every = ("callbacks.checkpoint.every_steps=1", "stage=main")
    clear = Checkpoints.clear
    monkeypatch.setattr(Checkpoints, "clear", lambda _: None)
    run(*every)
    monkeypatch.setattr(Checkpoints, "clear", clear)
    shutil.rmtree("outputs/run/stages/01-main")  # as if the end had never been reached
    newest = Checkpoints(Path("outputs/run/checkpoints")).all()[-1] / "state.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    run(*every)
    assert events(Path("outputs/run"), "resumed")[-1]["checkpoint"] == "step-00000005"
    assert list(Path("outputs/run/checkpoints").glob("*damaged-*"))


def test_the_micro_batch_is_found_by_trying_and_holds_for_the_run(rows, monkeypatch):
    from hafs.training.module import FineTuningModule

    real = FineTuningModule.loss_of

    def limited(self, packed):
        if len(packed.tokens_T) > 150:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, packed)

    monkeypatch.setattr(FineTuningModule, "loss_of", limited)
    run("stage=warmup,main", "callbacks.micro_batch.probe=true", "stage.main.epochs=1", "name=small")
    folder = rows / "outputs/small"
    found = [e["micro_batch_tokens"] for e in events(folder, "micro_batch")]
    assert len(found) == 1
    assert found[0] <= 150
    first_step = json.loads((folder / "events.jsonl").read_text().split('"event":"step"')[0].splitlines()[-2])
    assert first_step["event"] in ("micro_batch", "stage_started", "rehearsed")
    monkeypatch.undo()
    monkeypatch.chdir(rows)
    run("stage=warmup,main", "stage.main.epochs=1", "name=large")
    small, large = (steps(rows / f"outputs/{name}") for name in ("small", "large"))
    assert [s["samples"] for s in small] == [s["samples"] for s in large]
    assert [s["loss"] for s in small] == pytest.approx([s["loss"] for s in large], rel=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        ("quant=nf4",),
        ("quant=fp4",),
        ("quant=int8",),
        ("adapter=rslora",),
        ("adapter=dora",),
        ("model.gradient_checkpointing=true",),
        ("optimizer=adamw", "optimizer.weight_decay=0.1", "stage.warmup.schedule=linear"),
        ("+adapter.layers_to_transform=[1]", "adapter.target_modules=[q_proj,v_proj]"),
        ("precision=auto", "logger=csv"),
        ("model.weights.architecture=qwen2", "logger=tensorboard"),
    ],
)
def test_every_kind_of_base_adapter_and_precision_trains_and_gets_better(rows, words):
    loss = run("stage=warmup", "stage.warmup.samples=16", *words)
    summary = json.loads((rows / "outputs/run/summary.json").read_text())
    assert loss < summary["base_loss"]


def test_gradient_checkpointing_changes_no_step(rows):
    run("stage=warmup", "stage.warmup.samples=16")
    run("stage=warmup", "stage.warmup.samples=16", "model.gradient_checkpointing=true", "name=checkpointed")
    plain, checkpointed = (steps(rows / f"outputs/{name}") for name in ("run", "checkpointed"))
    assert [s["loss"] for s in plain] == pytest.approx([s["loss"] for s in checkpointed], rel=1e-6)


def test_a_step_with_a_nan_loss_is_not_applied(rows, monkeypatch):
    from hafs.training.module import FineTuningModule

    real = FineTuningModule.loss_of

    def poisoned(self, packed):
        loss = real(self, packed)
        bad = self.cursor.stage == 2 and self.cursor.step == 1 and torch.is_grad_enabled()
        return loss._replace(nats=loss.nats * float("nan")) if bad else loss

    monkeypatch.setattr(FineTuningModule, "loss_of", poisoned)
    run("stage.main.epochs=1")
    folder = rows / "outputs/run"
    (skipped,) = events(folder, "skipped")
    assert skipped["why"] == "the loss is nan"
    assert [s["skipped"] for s in steps(folder)] == [None, None, "the loss is nan", None, None]
    assert all(t.isfinite().all() for t in load_file(folder / "adapter/adapter_model.safetensors").values())


@pytest.mark.parametrize("strategy", ["deepspeed", "fsdp", "ddp_spawn", "ddp_notebook"])
def test_a_strategy_that_hafs_does_not_know_is_refused_in_one_line(rows, strategy):
    with pytest.raises(ConfigError) as refused:
        run(f"trainer.strategy={strategy}", "trainer.devices=2")
    assert refused.value.fact == f"trainer.strategy is '{strategy}', and hafs supports auto, ddp"


def test_several_devices_are_an_error_if_their_processes_cannot_be_started(rows):
    with pytest.raises(ConfigError, match="not started as hafs train"):
        run("trainer.strategy=ddp", "trainer.devices=2")


def test_a_subclass_of_a_known_strategy_is_not_accepted():
    class Other(DDPStrategy):
        pass

    with pytest.raises(ConfigError, match="is Other, and hafs supports"):
        refuse_unknown_strategy(pl.Trainer(accelerator="cpu", devices=1, strategy=Other(), logger=False))


def test_several_machines_are_refused_without_a_launcher(rows):
    with pytest.raises(ConfigError, match="not started by a launcher"):
        run("trainer.num_nodes=2")


@pytest.mark.parametrize("word", ["trainer.accelerator=tpu", "trainer.devices=0", "trainer.accelerator=nonsense"])
def test_what_lightning_refuses_is_told_in_one_line(rows, word):
    with pytest.raises(ConfigError) as refused:
        run(word)
    assert refused.value.fact.startswith("trainer: ")
    assert "\n" not in refused.value.fact
