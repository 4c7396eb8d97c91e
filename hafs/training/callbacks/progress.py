"""A progress bar over the whole run: stage, loss, tokens per second, time left."""

import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hafs.training.trained_module import TrainedModule


class Progress(pl.Callback):
    """Draws one bar per stage. Without a terminal it prints a line every 30 seconds."""

    def on_train_start(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        """Start the bar at the stage's current step."""
        self._console = Console(stderr=True)
        self._began = self._spoke = time.perf_counter()
        self._tokens = 0
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description:8}"),
            BarColumn(bar_width=24),
            TextColumn("step"),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:6.3f}  {task.fields[speed]:5.0f} tokens/s  left in this stage"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (self._console.is_terminal and trainer.is_global_zero),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            module.stage.name, total=module.stage_steps, completed=module.cursor.step, loss=float("nan"), speed=0.0
        )

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainedModule, *_: Any) -> None:
        """Advance the bar."""
        now = time.perf_counter()
        self._tokens += module.facts.tokens
        speed = self._tokens / (now - self._began)
        self._bar.update(self._task, completed=module.cursor.step, loss=module.facts.loss, speed=speed)
        if self._bar.disable and trainer.is_global_zero and now - self._spoke > 30:
            self._spoke = now
            self._console.print(
                f"{module.stage.name} step {module.cursor.step}/{module.stage_steps}  loss {module.facts.loss:.3f}  "
                f"{speed:.0f} tokens/s"
            )

    def on_train_end(self, *_: Any) -> None:
        """Remove the bar."""
        self._bar.stop()

    def on_exception(self, *_: Any) -> None:
        """Remove the bar, so that the error is readable."""
        if hasattr(self, "_bar"):
            self._bar.stop()
