"""Tokens a second, memory, and how busy the GPU is, every so many steps."""

import time
from typing import Annotated, Any

import psutil
import pytorch_lightning as pl
import torch
from pydantic import Field


def memory(device: torch.device) -> dict[str, int]:
    """Bytes held now: resident memory of the process, and what the allocator reserved on a GPU at its peak."""
    held = {"resident_bytes": psutil.Process().memory_info().rss}
    if device.type == "cuda":
        held["gpu_reserved_bytes"] = torch.cuda.max_memory_reserved(device)
    return held


def utilization(device: torch.device) -> dict[str, int]:
    """Percent of the time the GPU was busy; empty without NVML (`pip install hafs[gpu]`)."""
    if device.type != "cuda":
        return {}
    try:
        return {"gpu_percent": torch.cuda.utilization(device)}
    except (ModuleNotFoundError, RuntimeError):
        return {}


class Throughput(pl.Callback):
    """Measures the machine while it works.

    Args:
        every_steps: Optimizer steps between two measurements.
    """

    def __init__(self, *, every_steps: Annotated[int, Field(gt=0)]) -> None:
        self.every_steps = every_steps

    def on_train_start(self, *_: Any) -> None:
        """Start the clock."""
        self._began, self._tokens, self._supervised = time.perf_counter(), 0, 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Count; now and then, write."""
        self._tokens += module.facts.tokens
        self._supervised += module.facts.supervised
        if module.cursor.step % self.every_steps:
            return
        seconds = time.perf_counter() - self._began
        module.event(
            "throughput",
            total=module.facts.total,
            tokens_per_second=round(self._tokens / seconds, 1),
            supervised_per_second=round(self._supervised / seconds, 1),
            **memory(module.device),
            **utilization(module.device),
        )
        self.on_train_start()
