"""Detects this machine without torch: NVIDIA's driver, CPU flags, system memory."""

import os
import platform
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from hafs.modeling.hardware.data_sheet import Hardware, machine

FLOPS_PER_CYCLE = {"avx512f": 32, "avx2": 16}
"""Measured float32 operations per core and cycle."""
CPU_EFFICIENCY = (0.30, 0.40, 0.50)
GPU_EFFICIENCY = (0.30, 0.45, 0.60)


def detected(kind: str | None = None) -> Hardware:
    """The GPU if there is one, else this CPU.

    Args:
        kind: Only this kind of device: cuda, mps or cpu; None: the best there is.
    """
    finders = {"cuda": _nvidia, "mps": _apple}
    found = (finder() for name, finder in finders.items() if kind in (None, name))
    return next((device for device in found if device), None) or _cpu()


def _nvidia() -> Hardware | None:
    """The first visible GPU by `nvidia-smi`; a known card's figures come from its file in `conf/hardware/`.

    Any field may be `[N/A]` (MIG, integrated GPUs), and old drivers do not know the last one.
    """
    fields = ("name", "memory.total", "power.limit", "compute_cap")
    told = nvidia_smi(",".join(fields)) or nvidia_smi(",".join(fields[:3]))
    if not told or len(told[0]) < 3:
        return None
    name, memory, watts, *capability = told[0]
    mib = number(memory) or psutil.virtual_memory().total / 2**20  # an integrated GPU has the system's
    known = _known_card(name, mib)
    if known:
        return replace(known, memory_bytes=int(mib * 2**20), title=name, usd_per_hour=None)
    new = (number(capability[0]) if capability else None) or 8.0
    found = unknown_gpu(name, int(mib * 2**20), bf16=new >= 8)
    return replace(found, watts=number(watts) or found.watts)


def number(field: str) -> float | None:
    """A field of `nvidia-smi` as a number; None for `[N/A]` and other words."""
    try:
        return float(field)
    except ValueError:
        return None


def unknown_gpu(title: str, memory_bytes: int, *, bf16: bool) -> Hardware:
    """A GPU of which little is known; the rates are guesses, and `hafs plan calibrate` measures.

    Args:
        title: Its name.
        memory_bytes: Of its own memory.
        bf16: Whether it multiplies in bf16.
    """
    return Hardware(
        name="local",
        title=title,
        device="cuda",
        memory_bytes=memory_bytes,
        context_bytes=int(0.5 * 2**30),
        bandwidth=400e9,
        bf16=40e12 if bf16 else None,
        fp16=None if bf16 else 20e12,
        fp32=15e12,
        efficiency=(0.15, 0.40, 1.0),
        watts=250.0,
        usd_per_hour=None,
    )


def nvidia_smi(fields: str, *, query: str = "gpu") -> list[list[str]]:
    """Rows of an `nvidia-smi` query for the GPUs that this process may use; empty without a driver."""
    if shutil.which("nvidia-smi") is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    command = ["nvidia-smi", f"--query-{query}={fields}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [[part.strip() for part in line.split(",")] for line in said.stdout.splitlines() if line.strip()]
    if said.returncode or query != "gpu":
        return [] if said.returncode else rows
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return rows[int(first) :] if first.isdigit() and int(first) < len(rows) else rows


def _known_card(name: str, memory_mib: float) -> Hardware | None:
    """The card in `conf/hardware/` that matches the driver's name and memory."""
    for card in cards():
        words = set(card.title.lower().replace("nvidia", "").replace("geforce", "").split())
        words -= {word for word in words if word.endswith("gb")}
        if words <= set(name.lower().split()) and abs(card.memory_bytes / 2**20 / memory_mib - 1) < 0.1:
            return card
    return None


def cards() -> list[Hardware]:
    """The shipped options, without `local`."""
    root = Path(__file__).resolve().parents[2]
    folder = next(path for path in (root / "conf", root.parent / "conf") if path.is_dir()) / "hardware"
    nodes: list[dict[str, Any]] = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    return [machine(**{k: v for k, v in node.items() if k != "_target_"}) for node in nodes if node["title"]]


def _apple() -> Hardware | None:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return None
    known = next(card for card in cards() if card.device == "mps")
    return replace(known, memory_bytes=int(0.75 * psutil.virtual_memory().total))


def _cpu() -> Hardware:
    flags = cpu_flags()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    speed = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    hertz = 1e6 * (speed.max or speed.current if speed else 3000.0)
    wide = next((count for flag, count in FLOPS_PER_CYCLE.items() if flag in flags), 8)
    fp32 = cores * hertz * wide
    fast_bf16 = bool({"avx512_bf16", "amx_bf16"} & flags)
    has_bf16 = {"avx512bw", "avx512vl", "avx512dq"} <= flags  # torch requires these for bf16 products
    return Hardware(
        name="local",
        title=f"this CPU, {cores} cores",
        device="cpu",
        memory_bytes=psutil.virtual_memory().total,
        context_bytes=0,
        bandwidth=10e9 * min(cores, 8),
        bf16=fp32 * (2 if fast_bf16 else 1) if has_bf16 else None,
        fp32=fp32,
        efficiency=CPU_EFFICIENCY,
        watts=15.0 * cores,
        usd_per_hour=None,
    )


def cpu_flags() -> set[str]:
    """The instruction sets that Linux lists; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
