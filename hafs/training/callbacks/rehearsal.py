"""Runs a step, an evaluation and a save once before the first step, and discards the results."""

import os
import shutil
import time
from typing import Any

import pytorch_lightning as pl
import torch

from hafs.core.errors import DataError, RunError
from hafs.training.trained_module import TrainedModule

LARGEST_SAVE = 1 << 30
"""States larger than this many bytes are not written in the rehearsal."""


class Rehearsal(pl.Callback):
    """Runs the longest batch (on a CPU its longest sample), an optimizer step at learning rate zero, and a save.

    Parameters, optimizer and random numbers are unchanged afterwards. A failure of the first long batch, the first
    update or the first save happens here, in the first seconds.

    Args:
        enabled: Whether to rehearse.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    def on_train_start(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Rehearse once per process."""
        if not self.enabled or module.rehearsed or module.devices.sharded:
            return
        began = time.perf_counter()
        split: Any = trainer.datamodule.train  # type: ignore[attr-defined]
        count = module.stage.batch_size if module.on_gpu else 1
        longest = sorted(range(len(split)), key=lambda i: -int(split.lengths[i]))[:count]
        with torch.random.fork_rng():
            module.try_out([split[i] for i in longest], with_gradients=lambda: _update_and_save(module))
        module.rehearsed = True
        module.event(
            "rehearsed", tokens=int(split.lengths[longest].sum()), seconds=round(time.perf_counter() - began, 3)
        )


def _update_and_save(module: TrainedModule) -> None:
    """Run an optimizer step at learning rate zero, and write its state to a temporary file.

    After a resume, non-finite gradients are left to the loss guard, as in a run without the interruption.

    Raises:
        DataError: The gradients contain NaN or infinity before the first update.
        RunError: The state cannot be written.
    """
    parameters = module.trainable()
    if not all(bool(p.grad.isfinite().all()) for p in parameters.values() if p.grad is not None):
        if module.cursor.total:
            return
        raise DataError(
            "the longest batch produces gradients that contain NaN or infinity before the first update",
            hint="set precision=fp32, or check the longest samples with hafs validate",
        )
    optimizer = module.make_optimizer(list(parameters.values()))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    if not module.run.writes:
        return
    trained = {name: p.detach() for name, p in parameters.items()}
    if 3 * sum(p.numel() * p.element_size() for p in trained.values()) < LARGEST_SAVE:
        _write({"trained": trained, "optimizer": optimizer.state_dict()}, module)


def _write(state: dict[str, Any], module: TrainedModule) -> None:
    draft = module.run.checkpoints.root / ".draft-rehearsal"
    try:
        draft.mkdir(parents=True, exist_ok=True)
        with (draft / "state.pt").open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        raise RunError(
            f"a checkpoint cannot be written to {module.run.folder}: {error}",
            hint="free disk space, or make the folder writable",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
