"""Writes one line of `events.jsonl` per optimizer step, and logs the same metrics under the same names."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl

from hafs.training.trained_module import TrainedModule

STEP = ("loss", "accuracy", "lr", "grad_norm", "tokens_per_second")
"""Metrics of a step that are logged as `train/NAME`."""
HELD_OUT = ("loss", "perplexity", "accuracy")
"""Metrics of a measurement that are logged as `held_out/NAME`."""
PAIRS = ("preference_loss", "reward_margin", "reward_accuracy")
"""The same, where the stage has pairs; `reward_margin` of its steps too."""


def log(trainer: pl.Trainer, group: str, metrics: Mapping[str, Any], *, step: int) -> None:
    """Send metrics to every logger, under their names in `events.jsonl` with the group as prefix."""
    for logger in trainer.loggers:
        logger.log_metrics({f"{group}/{name}": value for name, value in metrics.items()}, step=step)


class Journal(pl.Callback):
    """Records every step and every measurement of the held-out split."""

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the timer."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Record the step."""
        seconds = time.perf_counter() - self._began
        facts = asdict(module.facts) | {"seconds": round(seconds, 4)}
        if facts["reward_margin"] is None:
            del facts["reward_margin"]
        module.event("step", **facts)
        facts["tokens_per_second"] = facts["tokens"] / seconds
        log(trainer, "train", {name: facts[name] for name in (*STEP, *PAIRS) if name in facts}, step=module.facts.total)

    def on_validation_end(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Record the measurement."""
        module.event("held_out", total=module.cursor.total, **module.held_out)
        measured = {name: module.held_out[name] for name in (*HELD_OUT, *PAIRS) if name in module.held_out}
        log(trainer, "held_out", measured, step=module.cursor.total)
