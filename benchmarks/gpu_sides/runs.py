"""Sections of `gpu.py` that run the train command in a process of its own."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMON = [
    "experiment=none", "dataset=alttp_asm", "dataset.max_length=512", "stage.warmup.samples=32",
    "stage.warmup.batch_size=8", "stage.warmup.epochs=1", "logger=none", "show.prompts=2", "show.measured=4",
    "show.max_new_tokens=32", "callbacks.generations.prompts=0", "callbacks.throughput.every_steps=1",
]  # fmt: skip
MAIN = ["stage.main.samples=64", "stage.main.batch_size=8", "stage.main.epochs=1"]


def train(
    folder: Path, options: argparse.Namespace, *words: str, failpoint: str = ""
) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and events of a training.

    Raises:
        RuntimeError: It ended with an error, and no failpoint was set.
    """
    where = "cpu" if options.device == "cpu" else "gpu"
    command = [sys.executable, "-m", "hafs.train", f"model={options.trained}", f"trainer={where}", *COMMON, *words]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "HAFS_FAILPOINTS": failpoint}
    left = max(30.0, options.until - time.monotonic())
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=left, check=False)
    if done.returncode and not failpoint:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    lines = (folder / "outputs/run/events.jsonl").read_text().splitlines()
    return done.returncode, [json.loads(line) for line in lines]


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Events of a kind."""
    return [event for event in events if event["event"] == kind]


def stages(options: argparse.Namespace) -> dict[str, Any]:
    """Two stages. If answers were computed in host memory, the time beside the steps would tell."""
    with tempfile.TemporaryDirectory(prefix="hafs-gpu-") as folder:
        began = time.perf_counter()
        _, events = train(Path(folder), options, *MAIN, "stage=warmup,main", "name=run")
        wall = time.perf_counter() - began
    steps, speeds = of(events, "step"), of(events, "throughput")
    finished = of(events, "stage_finished")
    return {
        "device": of(events, "planned")[0]["device"],
        "precision": of(events, "planned")[0]["precision"],
        "losses": {event["stage"]: round(event["loss"], 4) for event in finished},
        "tokens_per_second": max((event["tokens_per_second"] for event in speeds), default=None),
        "reserved_gib": max((event.get("gpu_reserved_bytes", 0) for event in speeds), default=0) / 2**30,
        "micro_batch_tokens": [event["micro_batch_tokens"] for event in of(events, "micro_batch")],
        "out_of_memory": len(of(events, "out_of_memory")),
        "seconds": {"all": round(wall, 1), "steps": round(sum(event["seconds"] for event in steps), 1)},
        "answers": len(of(events, "generation")),
        "seconds_from_measurement_to_answer": _answering(events),
    }


def _answering(events: list[dict[str, Any]]) -> list[float]:
    """From the end of each measurement to the first answer after it."""
    found, measured = [], None
    for event in events:
        if event["event"] == "held_out":
            measured = event["time"]
        elif event["event"] == "generation" and measured is not None:
            found.append(round(event["time"] - measured, 2))
            measured = None
    return found


def resume(options: argparse.Namespace) -> dict[str, Any]:
    """A training that is killed after its second step and continued, beside one that is not."""
    words = ["stage=warmup", "name=run", "callbacks.checkpoint.every_steps=1"]
    with tempfile.TemporaryDirectory(prefix="hafs-gpu-") as one, tempfile.TemporaryDirectory(prefix="hafs-gpu-") as two:
        _, whole = train(Path(one), options, *words)
        code, _ = train(Path(two), options, *words, failpoint="save.done@step-00000002:kill")
        _, continued = train(Path(two), options, *words)
    losses = [{event["total"]: event["loss"] for event in of(events, "step")} for events in (whole, continued)]
    apart = max(abs(losses[0][total] - losses[1][total]) for total in losses[0])
    return {
        "killed_with": code,
        "resumed_at": [event["total"] for event in of(continued, "resumed")],
        "steps": len(losses[0]),
        "largest_difference_of_a_loss": apart,
    }
