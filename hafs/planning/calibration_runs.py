"""Measures this machine with a few real steps: the share of the peak that training reaches, and its memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hafs.config import compose
from hafs.core.errors import ConfigError, RunError
from hafs.planning import calibration, memory
from hafs.planning.calibration import Calibration
from hafs.planning.duration import flops_per_token, unpacking_per_token
from hafs.planning.plan import Plan
from hafs.planning.plan_builder import PlanBuilder, calibration_path

STEPS, BATCH = 4, 4
SPREAD = (0.75, 1.25)
"""How far the efficiency of other configurations may lie from the measured one, at worst and at best."""
MOST_SLACK = 1.0
Event = dict[str, Any]


def calibrate(config: DictConfig) -> Calibration:
    """Train a few steps, compare with what would be planned from the peak, and keep the result.

    Raises:
        ConfigError: The hardware is not this machine's, or the measurements cannot be stored.
        RunError: The training failed.
    """
    path = calibration_path(config.calibration)
    if config.hardware.name != "local" or path is None:
        raise ConfigError("hafs plan calibrate measures this machine only", hint="use hardware=local")
    _writable(path)
    console = Console()
    overrides = training_overrides(config)
    with tempfile.TemporaryDirectory(prefix="hafs-calibrate-") as folder:
        console.print(f"training {STEPS} steps of {BATCH} samples of {config.dataset.name}", soft_wrap=True)
        resident = _train(overrides, Path(folder))
        lines = (Path(folder) / "outputs/run/events.jsonl").read_text().splitlines()
    found = judged(planned(config, overrides), [json.loads(line) for line in lines], resident)
    calibration.keep(path, found)
    low, usual, high = found.efficiency
    console.print(f"{found.of}: {usual:.0%} of the peak ({low:.0%} to {high:.0%}); kept in {path}", soft_wrap=True)
    return found


def _writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint="calibration=mine.json") from error


def planned(config: DictConfig, overrides: Sequence[str]) -> Plan:
    """The plan of the measured training, with the assumed constants.

    Args:
        config: Of the plan command; its hardware counts.
        overrides: Of the training.
    """
    measured = compose("plan", [*overrides, "calibration=null"])
    measured.hardware = config.hardware
    return PlanBuilder(measured).plan


def judged(plan: Plan, events: Sequence[Event], resident: int) -> Calibration:
    """The constants with which the plan would have predicted the measurement.

    Args:
        plan: Of the training, from what is assumed.
        events: What it wrote: seconds and tokens of steps, and on a GPU what its allocator held.
        resident: Peak of the process' resident memory, in bytes.
    """
    asked, known = plan.asked, plan.constants
    steps = [event for event in events if event["event"] == "step"][1:]  # the first one warms caches up
    seconds = sum(step["seconds"] for step in steps) / max(1, sum(step["tokens"] for step in steps))
    multiplying = seconds - unpacking_per_token(asked.shapes, asked.setup, asked.hardware, plan.row.tokens)
    flops = flops_per_token(asked.shapes, asked.setup, asked.load) / asked.hardware.rate(asked.setup.product_bytes)
    usual = min(1.0, flops / max(multiplying, seconds / 10, 1e-12))
    context, slack = known.context_bytes, known.slack
    if asked.setup.device == "cpu":
        context = max(context // 2, context + resident - plan.total)
    else:
        slack = _slack(plan, max((event.get("gpu_reserved_bytes", 0) for event in events), default=0))
    return Calibration(
        title=asked.hardware.title,
        date=time.strftime("%Y-%m-%d"),
        of=f"{asked.model}, {asked.quant}, {asked.adapter}",
        efficiency=(usual * SPREAD[0], usual, min(1.0, usual * SPREAD[1])),
        context_bytes=int(context),
        slack=slack,
    )


def _slack(plan: Plan, reserved: int) -> float:
    """What an allocator held beyond what was asked for, as a share of the transient memory."""
    moving = sum(term.bytes for term in plan.terms if term.name in memory.COMES_AND_GOES)
    if not reserved or not moving:
        return plan.constants.slack
    return min(MOST_SLACK, max(0.0, (reserved - memory.staying(plan.terms)) / moving - 1))


def training_overrides(config: DictConfig) -> list[str]:
    """A short training of what was chosen, with every value that was changed."""
    kind = "none" if config.adapter.r is None else "lora"
    path = config.dataset.path
    files = [str(Path(name).absolute()) for name in ([path] if isinstance(path, str) else path)]
    return [
        *(f"{group}={config[group].name}" for group in ("model", "quant", "optimizer")),
        f"adapter={kind}", "dataset=jsonl", "experiment=none", "stage=main", "logger=none",
        *(word for group in ("model", "quant", "optimizer", "dataset") for word in _values(config[group], group)),
        *(_values(config.adapter, "adapter") if kind == "lora" else ()),
        f"dataset.path={_quoted(files)}", "dataset.max_samples=100",
        "stage.main.epochs=1", f"stage.main.samples={STEPS * BATCH}", f"stage.main.batch_size={BATCH}",
        "on_worse=continue", "show.prompts=0", "show.measured=0", "callbacks.generations.prompts=0",
        "callbacks.throughput.every_steps=1", f"precision={config.precision}", "name=run",
        f"micro_batch_tokens={_quoted(config.micro_batch_tokens)}",
    ]  # fmt: skip


def _values(node: DictConfig, prefix: str) -> Iterator[str]:
    """Every value of a node as a word."""
    for key, value in node.items():
        if isinstance(value, DictConfig):
            yield from _values(value, f"{prefix}.{key}")
        elif key not in ("_target_", "name", "path"):
            plain: Any = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            local = key == "repo" and Path(plain).is_dir()
            yield f"{prefix}.{key}={_quoted(str(Path(plain).absolute()) if local else plain)}"


def _quoted(value: Any) -> str:
    """A value as Hydra reads it on the command line."""
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    if isinstance(value, list):
        return "[" + ",".join(map(_quoted, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _train(overrides: Sequence[str], folder: Path) -> int:
    """Peak memory in bytes of a training in a separate process."""
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    if Path("conf").is_dir():  # the user's own models
        (folder / "conf").symlink_to(Path("conf").absolute())
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "hafs.train", *overrides], cwd=folder, stdout=log, stderr=log, env=env
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if status:
        said = (folder / "log.txt").read_text().strip().splitlines()
        raise RunError(
            f"the training for the measurement failed: {' '.join(said[-2:])}",
            hint="run hafs train with the same overrides",
        )
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
