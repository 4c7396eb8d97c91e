"""What safety costs: a save of 24 MiB, saves every 100 steps, and a resume beside a fresh start.

python benchmarks/save_speed.py
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import orjson
import torch

from hafs.runs.checkpoints import Checkpoints

MIB = 1 << 20
TINY = [
    "model=tiny", "quant=none", "logger=none", "trainer=cpu", "show.measured=0", "show.prompts=0", "precision=fp32",
    "callbacks.generations.prompts=0", "experiment=none", "dataset=alttp_asm", "stage=main",
    "stage.main.validation=end", "stage.main.samples=600", "stage.main.batch_size=1", "stage.main.epochs=1", "name=run",
]  # fmt: skip


def one_save():
    """Median seconds of a save of 24 MiB, rotation included."""
    state = {"cursor": {"total": 0}, "trained": {str(i): torch.rand(MIB // 4) for i in range(24)}}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        checkpoints, seconds = Checkpoints(Path(folder)), []
        for step in range(15):
            began = time.perf_counter()
            checkpoints.save(step, state)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def train(folder, *words, **environ):
    """Run the command; returns its exit code and its events."""
    command = [sys.executable, "-m", "hafs.train", *TINY, *words]
    code = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, check=False, stdout=subprocess.DEVNULL
    ).returncode
    lines = (Path(folder) / "outputs/run/events.jsonl").read_bytes().splitlines()
    return code, [orjson.loads(line) for line in lines]


def first_step(folder, *words, **environ):
    """Seconds from the command to the end of its first step, and its exit code."""
    began = time.time()
    code, events = train(folder, *words, **environ)
    return next(e["time"] for e in events if e["event"] == "step" and e["time"] > began) - began, code


def main():
    """Measure and print."""
    print(f"a save of 24 MiB: {one_save() * 1000:.0f} ms (wanted: at most 150)")
    with tempfile.TemporaryDirectory() as folder:
        fresh, _ = first_step(folder, HAFS_FAILPOINTS="step.done@step-00000150:kill")
        resumed, code = first_step(folder)
        _, events = train(folder)
        saves = [after["time"] - before["time"] for before, after in pairwise(events)
                 if after["event"] == "saved" and before["event"] in ("step", "throughput")]  # fmt: skip
        steps = [e["seconds"] for e in events if e["event"] == "step"]
    share = statistics.median(saves) / (100 * statistics.median(steps))
    print(f"first step: fresh {fresh:.1f} s, resumed {resumed:.1f} s (wanted: at most 10 more), exit {code}")
    print(f"a save every 100 steps of {statistics.median(steps) * 1000:.0f} ms: {share:.2%} (wanted: at most 1 %)")


if __name__ == "__main__":
    main()
