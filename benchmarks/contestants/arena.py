"""Runs one contestant as a process of its own and reads back how fast, how large and how far it went."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from contestants.watch import Watched, watch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TRL_ENVIRONMENT = ROOT / ".venv-trl"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of one contestant."""

    tokens_per_second: float
    """Of real tokens, padding not counted, from the end of the first optimizer step to the end of the last."""
    supervised_per_second: float
    """The same of supervised tokens."""
    tokens_per_cpu_second: float
    """Real tokens for each second of one processor: what remains comparable when others use the machine."""
    others: float
    """Share of the machine that others used meanwhile."""
    peak_bytes: int
    """Largest resident memory of the whole process, imports and loading included."""
    samples: int
    """Samples of the run."""
    tokens: int
    """Tokens of the run."""
    supervised: int
    """Supervised tokens of the run."""
    steps: int
    """Optimizer steps of the run."""
    first: tuple[str, ...]
    """Samples of the first step."""
    first_loss: float
    """What it reported as the loss of the first step."""
    adapter: str
    """Where it left its adapter."""


def setup_trl() -> Path:
    """The Python of the environment that TRL lives in, made on the first call with the versions hafs is pinned to."""
    python = TRL_ENVIRONMENT / "bin" / "python"
    ready = TRL_ENVIRONMENT / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", TRL_ENVIRONMENT], check=True)
        install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
        subprocess.run([*install, "torch==2.13.0"], check=True)  # first: a CPU build is taken where one is at hand
        subprocess.run([*install, "trl==1.16.*", "transformers", "peft", "bitsandbytes"], check=True)
        ready.touch()
    return python


def script(name: str, python: str | Path, spec: dict[str, Any], where: Path) -> tuple[dict[str, Any], Watched]:
    """Run a script of this folder on a spec; returns the facts it wrote and what was seen of it."""
    where.mkdir(parents=True, exist_ok=True)
    facts = where / "facts.json"
    (where / "spec.json").write_text(json.dumps(spec | {"facts": str(facts)}))
    seen = _on_cpu([str(python), str(HERE / name), str(where / "spec.json")], where)
    return json.loads(facts.read_text()), seen


def run_trl(spec: dict[str, Any], where: Path) -> Measured:
    """TRL in its own environment."""
    spec = spec | {"adapter": str(where / "adapter"), "scratch": str(where / "scratch")}
    facts, seen = script("trl_sft.py", setup_trl(), spec, where)
    return _measured(facts["steps"], facts["ends"], facts["first_loss"], seen, spec["adapter"])


def run_bare(spec: dict[str, Any], where: Path) -> Measured:
    """The bare loop."""
    spec = spec | {"adapter": str(where / "adapter")}
    facts, seen = script("bare_loop.py", sys.executable, spec, where)
    return _measured(facts["steps"], facts["ends"], facts["first_loss"], seen, spec["adapter"])


def run_hafs(words: list[str], where: Path) -> Measured:
    """The training command of hafs; its steps are read from `events.jsonl`, the clock included."""
    where.mkdir(parents=True, exist_ok=True)
    seen = _on_cpu([sys.executable, "-m", "hafs.train", *words, "name=bench-train"], where)
    folder = where / "outputs" / "bench-train"
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    ends = [step["time"] for step in steps]
    return _measured(steps, ends, steps[0]["loss"], seen, str(folder / "stages" / "01-main" / "adapter"))


def _on_cpu(command: list[str], where: Path) -> Watched:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return watch(command, log=where / "log.txt", where=where, environment=environment)


def _measured(
    steps: list[dict[str, Any]], ends: list[float], first_loss: float, seen: Watched, adapter: str
) -> Measured:
    """Turn what every contestant notes of its steps into rates; the first step is a warm-up and is not counted."""
    seconds = ends[-1] - ends[0]
    own, others = seen.between(ends[0], ends[-1])
    tokens = sum(step["tokens"] for step in steps[1:])
    return Measured(
        tokens_per_second=tokens / seconds,
        supervised_per_second=sum(step["supervised"] for step in steps[1:]) / seconds,
        tokens_per_cpu_second=tokens / own,
        others=others / (seconds * (psutil.cpu_count() or 1)),
        peak_bytes=seen.peak_bytes,
        samples=sum(len(step["samples"]) for step in steps),
        tokens=sum(step["tokens"] for step in steps),
        supervised=sum(step["supervised"] for step in steps),
        steps=len(steps),
        first=tuple(steps[0]["samples"]),
        first_loss=first_loss,
        adapter=adapter,
    )
