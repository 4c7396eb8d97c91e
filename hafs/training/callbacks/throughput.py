"""Measures tokens per second, memory, and GPU or CPU utilization every N steps."""

import time
from typing import Annotated, Any

import psutil
import pytorch_lightning as pl
import torch
from pydantic import Field

from hafs.training.callbacks.journal import log
from hafs.training.trained_module import TrainedModule


def memory(device: torch.device) -> dict[str, int]:
    """Bytes in use and in total: the process's resident memory and, on a GPU, the allocator's peak."""
    held = {"resident_bytes": psutil.Process().memory_info().rss, "memory_bytes": psutil.virtual_memory().total}
    if device.type == "mps":
        held["gpu_reserved_bytes"] = torch.mps.driver_allocated_memory()
        held["gpu_bytes"] = torch.mps.recommended_max_memory()
    if device.type == "cuda":
        held["gpu_reserved_bytes"] = torch.cuda.max_memory_reserved(device)
        held["gpu_bytes"] = torch.cuda.get_device_properties(device).total_memory
    return held


def utilization(device: torch.device) -> dict[str, int]:
    """Utilization of the CPU or GPU by all programs since the last call, in percent.

    Empty on a GPU without NVML (`pip install hafs[gpu]`), and where NVML reports an error: a part of a GPU (MIG) has
    none.
    """
    if device.type != "cuda":  # Metal reports none
        return {"cpu_percent": round(psutil.cpu_percent())}
    try:
        return {"gpu_percent": torch.cuda.utilization(device)}
    except Exception:  # NVML's and AMD's errors have no common class, and a missing figure must not end a run
        return {}


class Throughput(pl.Callback):
    """Records throughput and machine use during training.

    Args:
        every_steps: Optimizer steps between two measurements.
        every_seconds: Also measure at the first step's end after this many seconds.
    """

    def __init__(
        self, *, every_steps: Annotated[int, Field(gt=0)], every_seconds: Annotated[float, Field(gt=0)]
    ) -> None:
        self.every_steps, self.every_seconds = every_steps, every_seconds

    def on_train_start(self, *_: Any) -> None:
        """Start the timer."""
        psutil.cpu_percent()
        self._began, self._tokens, self._supervised = time.perf_counter(), 0, 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Count tokens; record them at every interval."""
        self._tokens += module.facts.tokens
        self._supervised += module.facts.supervised
        seconds = time.perf_counter() - self._began
        if module.cursor.step % self.every_steps and seconds < self.every_seconds:
            return
        machine = {
            "tokens_per_second": round(self._tokens / seconds, 1),
            "supervised_per_second": round(self._supervised / seconds, 1),
            **memory(module.device),
            **utilization(module.device),
        }
        module.event("throughput", total=module.facts.total, **machine)
        log(trainer, "machine", machine, step=module.facts.total)
        self.on_train_start()
