"""Pauses while the run's folder has a file named `pause`: saves, frees the GPU, and waits until it is removed."""

import time
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field

from hafs.modeling import out_of_memory
from hafs.training.trained_module import TrainedModule


class Pause(pl.Callback):
    """Frees the GPU for other programs for a while.

    Args:
        poll_seconds: Seconds between two checks for the file.
    """

    def __init__(self, *, poll_seconds: Annotated[float, Field(gt=0)]) -> None:
        self.poll_seconds = poll_seconds

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Wait while the file exists, with everything moved off the GPU. A signal ends the wait."""
        file = module.run.folder / "pause"
        if not module.devices.anywhere(file.exists()):
            return
        module.save()
        module.event("paused", total=module.cursor.total)
        home, began = module.device, time.perf_counter()
        _move(module, torch.device("cpu"))
        out_of_memory.free_cache()
        while file.exists() and not module.stop.asked:
            time.sleep(self.poll_seconds)
        _move(module, home)
        module.event("resumed_from_pause", total=module.cursor.total, seconds=round(time.perf_counter() - began, 1))


def _move(module: TrainedModule, device: torch.device) -> None:
    module.to(device)
    for state in module.optimizers(use_pl_optimizer=False).state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                state[name] = value.to(device)
