"""Measuring this machine with a few real steps: what share of the peak training reaches, and what its memory needs."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from hafs.errors import ConfigError, RunError
from hafs.planning import calibration, memory
from hafs.planning.calibration import Calibration
from hafs.planning.duration import flops_a_token
from hafs.proposal import Proposal, calibration_path

STEPS, BATCH = 4, 4
SPREAD = (0.75, 1.25)
"""How far the efficiency of other configurations may lie from the measured one, at worst and at best."""


def calibrate(config: DictConfig) -> None:
    """Train a few steps, compare with what would be planned from the peak, and keep the result.

    Raises:
        ConfigError: The hardware is not this machine's, or there is no place to keep what is measured.
        RunError: The training failed.
    """
    path = calibration_path(config.calibration)
    if config.hardware.name != "local" or path is None:
        raise ConfigError("only this machine can be measured here", hint="hafs plan calibrate, with hardware=local")
    console = Console()
    words = _words(config)
    with tempfile.TemporaryDirectory(prefix="hafs-calibrate-") as folder:
        console.print(f"training {STEPS} steps of {BATCH} samples: {' '.join(words[:3])}", soft_wrap=True)
        peak = _train(words, Path(folder))
        steps = [json.loads(line) for line in (Path(folder) / "outputs/run/events.jsonl").read_text().splitlines()]
    steps = [step for step in steps if step["event"] == "step"][1:]  # the first one warms caches up
    found = judged(config, steps, peak)
    calibration.keep(path, found)
    low, usual, high = found.efficiency
    console.print(f"efficiency {usual:.0%} of the peak ({low:.0%} to {high:.0%}); kept in {path}", soft_wrap=True)


def judged(config: DictConfig, steps: list[dict[str, Any]], peak: int) -> Calibration:
    """What steps of this configuration say of the machine.

    Args:
        config: Of the plan door.
        steps: Events of steps: tokens and seconds.
        peak: Bytes at the peak of the process, or of the GPU's allocator.
    """
    config = OmegaConf.create(config)
    with open_dict(config):
        config.calibration = None
    plan = Proposal(config).plan
    asked = plan.asked
    speed = sum(step["tokens"] for step in steps) / max(1e-9, sum(step["seconds"] for step in steps))
    flops = flops_a_token(asked.shapes, asked.setup, asked.load) * speed
    usual = min(1.0, flops / asked.hardware.rate(asked.setup.product_bytes))
    planned = memory.total(plan.terms)
    context = plan.constants.context_bytes
    if asked.setup.device == "cpu":
        context = max(context // 2, context + peak - planned)
    return Calibration(
        title=asked.hardware.title,
        date=time.strftime("%Y-%m-%d"),
        efficiency=(usual * SPREAD[0], usual, min(1.0, usual * SPREAD[1])),
        context_bytes=int(context),
        slack=plan.constants.slack,
    )


def _words(config: DictConfig) -> list[str]:
    """A short training of what was chosen."""
    path = config.dataset.path
    files = [path] if isinstance(path, str) else list(path)
    absolute = ",".join(f"'{Path(name).absolute()}'" for name in files)
    chosen = [f"{noun}={config[noun].name}" for noun in ("model", "quant", "optimizer")]
    kind = "none" if config.adapter.r is None else "lora"
    rank = [] if config.adapter.r is None else [f"adapter.r={config.adapter.r}"]
    return [
        *chosen, f"adapter={kind}", *rank, "experiment=none", "dataset=jsonl", f"dataset.path=[{absolute}]",
        f"dataset.max_length={config.dataset.max_length}", "dataset.max_samples=100", "stage=main",
        "stage.main.epochs=1", f"stage.main.samples={STEPS * BATCH}", f"stage.main.batch_size={BATCH}",
        "logger=none", "on_worse=continue", "show.prompts=0", "show.measured=0", "callbacks.generations.prompts=0",
        f"precision={config.precision}", "name=run",
    ]  # fmt: skip


def _train(words: list[str], folder: Path) -> int:
    """Peak bytes of a training in a process of its own."""
    root = str(Path(__file__).resolve().parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "hafs.train", *words], cwd=folder, stdout=log, stderr=log, env=env
        )
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        said = (folder / "log.txt").read_text().strip().splitlines()
        raise RunError(
            f"the measured training failed: {' '.join(said[-2:])}", hint="run the same words with hafs train"
        )
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
