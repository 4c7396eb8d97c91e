"""Commands as users type them, each in its own process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import COMMON, events, steps, write_rows

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
WARMUP = [word for word in COMMON if not word.startswith(("stage.main", "stage.cooldown"))] + ["stage=warmup"]


def argv(*overrides, command="train"):
    return [sys.executable, "-m", "hafs", command, *overrides]


def run_command(*overrides, command="train", here):
    return subprocess.run(
        argv(*overrides, command=command),
        check=False,
        cwd=here,
        env=ONE_THREAD,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl", count=60)
    return here


def test_cfg_job_prints_the_14b_config_with_its_stages_in_order(here):
    out = run_command("model=qwen14b", "stage=warmup,main,cooldown", "--cfg", "job", here=here)
    assert out.returncode == 0, out.stderr
    places = [out.stdout.index(f"  {name}:\n") for name in ("warmup", "main", "cooldown")]
    assert places == sorted(places)
    assert "repo: Qwen/Qwen2.5-Coder-14B-Instruct" in out.stdout
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=qwen14"], "did you mean 'qwen14b'"),
        (["stage=main,main"], "lists 'main' twice"),
        (["adapter.r=x"], "adapter.r is 'x'"),
        (["dataset=jsonl", "dataset.path=nothing.jsonl"], "no file 'nothing.jsonl'"),
    ],
)
def test_bad_overrides_exit_with_code_2_and_two_lines(here, overrides, message):
    out = run_command(*overrides, here=here)
    assert out.returncode == 2
    assert message in out.stderr
    assert "Traceback" not in out.stderr
    assert len(out.stderr.strip().splitlines()) <= 2


def test_debug_prints_the_traceback_of_an_error(here):
    out = run_command("adapter.r=x", "hafs.debug=true", here=here)
    assert out.returncode == 2
    assert "Traceback" in out.stderr


def test_a_sweep_keeps_its_ranked_table_when_a_job_fails(rows):
    overrides = [word for word in WARMUP if not word.startswith("name=")]
    out = run_command("-m", *overrides, "adapter.r=0,2,8", here=rows)
    assert out.returncode == 2, out.stderr
    (sweep,) = (rows / "multirun").iterdir()  # one folder, although each job's own name has another rank
    assert sweep.name == "tiny-none-rows-adapter.r"
    folder = f"multirun/{sweep.name}"
    table = out.stdout[out.stdout.index(f"sweep {folder}") :]
    done = [line for line in table.splitlines() if "adapter.r=" in line and "│" in line]
    losses = [float(line.split("│")[3]) for line in done[:2]]
    assert losses == sorted(losses)
    assert "failed" in done[2]
    assert "adapter.r is 0" in table
    assert f"best adapter: {folder}/adapter.r=" in table
    assert json.loads((rows / folder / "adapter.r=8/summary.json").read_text())["status"] == "done"


def test_two_processes_have_the_same_losses_as_one(rows):
    alone = run_command(*WARMUP, "stage.warmup.samples=24", "name=one", here=rows)
    shared = run_command(
        *WARMUP, "stage.warmup.samples=24", "trainer=ddp", "trainer.accelerator=cpu", "name=two", here=rows
    )
    assert (alone.returncode, shared.returncode) == (0, 0), shared.stderr
    one, two = (steps(rows / "outputs" / name) for name in ("one", "two"))
    assert [s["samples"] for s in one] == [s["samples"] for s in two]
    assert [s["loss"] for s in one] == pytest.approx([s["loss"] for s in two], rel=1e-5)
    assert [s["grad_norm"] for s in one] == pytest.approx([s["grad_norm"] for s in two], rel=1e-4)
    assert len(events(rows / "outputs/two", "stage_finished")) == 2


def wait_for_step(folder, count, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        if (folder / "events.jsonl").exists() and len(steps_so_far(folder)) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("timeout: no training step")


def steps_so_far(folder):
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [line for line in lines if '"event":"step"' in line and line.endswith("}")]


LONG = [*WARMUP, "stage.warmup.epochs=12", "stage.warmup.samples=40", "stage.warmup.validation=end"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_the_same_command_continues_to_the_same_adapter(rows, number):
    process = subprocess.Popen(argv(*LONG), cwd=rows, env=ONE_THREAD, stderr=subprocess.PIPE, text=True)
    wait_for_step(rows / "outputs/run", 3, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"stopped by {number.name}" in stderr
    assert run_command(*LONG, here=rows).returncode == 0
    assert run_command(*LONG, "name=whole", here=rows).returncode == 0
    assert events(rows / "outputs/run", "resumed")
    assert steps(rows / "outputs/run") == steps(rows / "outputs/whole")
    adapters = [(rows / f"outputs/{name}/adapter/adapter_model.safetensors").read_bytes() for name in ("run", "whole")]
    assert adapters[0] == adapters[1]


def test_a_pause_file_saves_a_checkpoint_and_pauses_until_it_is_removed(rows):
    process = subprocess.Popen(
        argv(*LONG, "callbacks.pause.poll_seconds=0.05"), cwd=rows, env=ONE_THREAD, stderr=subprocess.PIPE, text=True
    )
    folder = rows / "outputs/run"
    wait_for_step(folder, 2, process)
    (folder / "pause").touch()
    deadline = time.monotonic() + 60
    while '"paused"' not in (folder / "events.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    made = len(steps_so_far(folder))
    time.sleep(1)
    assert len(steps_so_far(folder)) == made
    (folder / "pause").unlink()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert len(events(folder, "resumed_from_pause")) == 1
    assert len(steps(folder)) == 60


def test_validate_writes_a_report_and_refuses_what_training_would_refuse(rows):
    good = run_command("dataset=jsonl", "dataset.path=rows.jsonl", command="validate", here=rows)
    assert good.returncode == 0, good.stderr
    assert "wrote outputs/validate/rows/data_report.html" in good.stdout
    (rows / "bad.jsonl").write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a"}\nnonsense\n')
    bad = run_command("dataset=jsonl", "dataset.path=bad.jsonl", command="validate", here=rows)
    assert bad.returncode == 2
    assert "rejected" in bad.stderr


def test_hafs_lists_its_commands_and_completes_them(here):
    script = [Path(sys.executable).parent / "hafs"]
    assert "hafs train" in subprocess.run(script, capture_output=True, text=True, check=True).stdout
    for line, expected in (
        ("hafs tr", "train"),
        ("hafs train model=ti", "model=tiny"),
        ("hafs train stage=warmup,ma", "stage=warmup,main"),
        ("hafs train stage=main stage.main.l", "stage.main.lr="),
    ):
        out = subprocess.run(
            [*script, "--complete"], env={**ONE_THREAD, "COMP_LINE": line}, capture_output=True, text=True, check=True
        )
        assert expected in out.stdout.split()
    wrong = subprocess.run([*script, "trian"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "did you mean 'train'" in wrong.stderr
