"""One line of `events.jsonl` for each optimizer step, and the logger's metrics under the same names."""

import time
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl


class Journal(pl.Callback):
    """Writes down every step."""

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Write what the step was."""
        seconds = time.perf_counter() - self._began
        module.event("step", **asdict(module.facts), seconds=round(seconds, 4))
        metrics = {"loss": module.facts.loss, "lr": module.facts.lr, "grad_norm": module.facts.grad_norm}
        metrics |= {"accuracy": module.facts.accuracy, "tokens_per_second": module.facts.tokens / seconds}
        for logger in trainer.loggers:
            logger.log_metrics({f"train/{name}": value for name, value in metrics.items()}, step=module.facts.total)
