"""The section of `gpu.py` that trains the same rows with hafs, TRL and Unsloth, each in a process of its own."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SIDES = {"hafs": ("hafs",), "trl": ("trl",), "unsloth": ("unsloth", "trl")}
STEPS = {"cuda": 20, "cpu": 2}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens/s and peak GiB of each side that is installed here, and hafs' speed as a multiple of each other one's."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hafs-gpu-") as folder:
        spec = {"model": str(weights(options.trained)), "device": options.device, "steps": STEPS[options.device],
                "rank": options.rank, "tokens": 2048 if options.device == "cuda" else 128}  # fmt: skip
        for name, packages in SIDES.items():
            missing = [package for package in packages if importlib.util.find_spec(package) is None]
            found[name] = {"error": f"not installed: {missing[0]}"} if missing else side(name, spec, folder, options)
    ours = found["hafs"].get("tokens_per_second")
    for name, each in found.items():
        if ours and name != "hafs" and "tokens_per_second" in each:
            each["hafs_is_faster_by"] = round(ours / each["tokens_per_second"], 2)
    return found


def weights(name: str) -> Path:
    """The folder of a model whose weights ship in a Python package; a path is taken as it is."""
    if Path(name).is_dir():
        return Path(name).resolve()
    from hafs.config import build, compose

    return build(compose("train", [f"model={name}"]).model).weights.folder()


def side(name: str, spec: dict[str, Any], folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """What one side measured."""
    described, out = Path(folder) / f"{name}.json", Path(folder) / f"{name}-found.json"
    described.write_text(json.dumps(spec | {"side": name, "out": str(out), "scratch": str(Path(folder) / name)}))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    left = max(60.0, options.until - time.monotonic())
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "peer.py"), str(described)], env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True, timeout=left, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {left:.0f} s"}
    return json.loads(out.read_text()) if out.exists() else {"error": done.stderr[-800:]}
