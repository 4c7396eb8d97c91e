"""Pauses while the run's folder has a file named `pause`: saves, frees the GPU, and waits until it is removed."""

import time
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field
from rich.console import Console

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
        if trainer.is_global_zero:
            self._say(f"paused     saved at step {module.cursor.total}, memory of {home} is free; continue: rm {file}")
        _move(module, torch.device("cpu"))
        out_of_memory.free_cache()
        while file.exists() and not module.stop.asked:
            time.sleep(self.poll_seconds)
        _move(module, home)
        waited = time.perf_counter() - began
        if trainer.is_global_zero:
            self._say(f"continued  after a pause of {waited:.0f} s")
        module.event("resumed_from_pause", total=module.cursor.total, seconds=round(waited, 1))

    @staticmethod
    def _say(line: str) -> None:
        """Print a line above the progress bar."""
        Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


def _move(module: TrainedModule, device: torch.device) -> None:
    module.to(device)
    for state in module.optimizers(use_pl_optimizer=False).state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                state[name] = value.to(device)
