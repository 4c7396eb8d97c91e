"""A logger whose failures (a full disk, a lost connection) do not stop the run."""

import os
import warnings
from collections.abc import Callable
from typing import Any

from pytorch_lightning.loggers import Logger

from hafs.config import build
from hafs.config.extras import how_to_install
from hafs.core.errors import ConfigError
from hafs.runs.run_folder import Run

_PACKAGES = {
    "WandbLogger": "wandb",
    "MLFlowLogger": "mlflow",
    "TensorBoardLogger": "tensorboard",
    "TrackioLogger": "trackio",
}
"""By Lightning's class: the module that it needs."""


def open_logger(node: Any, run: Run) -> "SafeLogger | None":
    """The logger that all stages share, in the run's folder.

    Args:
        node: Of the config group `logger`; None: no logger.
        run: Its folder, and the events that a failure is written to.

    Raises:
        ConfigError: It needs a package that is not installed.
    """
    if not node:
        return None
    if str(node["_target_"]).endswith(".MLFlowLogger"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses to write files without it
    try:
        return SafeLogger(build(node, save_dir=str(run.folder)), tell=run.event)
    except ModuleNotFoundError as error:
        name = str(node["_target_"]).rsplit(".", 1)[-1]
        module = _PACKAGES.get(name, error.name or "")
        hint = f"{how_to_install(module)}; or logger=csv" if module else "install it, or logger=csv"
        raise ConfigError(f"logger {name!r} needs {module or error}, which is not installed", hint=hint) from error


class SafeLogger(Logger):
    """Forwards every call to another logger and catches its errors. `events.jsonl` holds the same metrics.

    Lightning does not see the inner logger's `experiment`, so that it is opened inside a guarded call too.

    Args:
        inner: The logger that writes.
        tell: Called at the first failure with the event's kind and facts, for `events.jsonl`.
    """

    def __init__(self, inner: Logger, *, tell: Callable[..., None]) -> None:
        super().__init__()
        self.inner, self.tell = inner, tell
        self._failed = False

    @property
    def name(self) -> str | None:
        """The inner logger's name."""
        return self.inner.name

    @property
    def version(self) -> int | str | None:
        """The inner logger's version."""
        return self.inner.version

    @property
    def save_dir(self) -> str | None:
        """The inner logger's folder."""
        return self.inner.save_dir

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Write metrics."""
        self._try(self.inner.log_metrics, *args, **kwargs)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Write the hyperparameters."""
        self._try(self.inner.log_hyperparams, *args, **kwargs)

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        """Write the model's graph."""
        self._try(self.inner.log_graph, *args, **kwargs)

    def save(self) -> None:
        """Flush."""
        self._try(self.inner.save)

    def finalize(self, status: str) -> None:
        """Flush and close."""
        self._try(self.inner.finalize, status)

    def _try(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            write(*args, **kwargs)
        except Exception as error:  # loggers report a full disk in many ways: TensorBoard raises ValueError
            if not self._failed:
                name, why = type(self.inner).__name__, str(error.__cause__ or error)
                self.tell("logging_refused", logger=name, why=why)
                warnings.warn(f"{name} cannot write: {why}; training continues", stacklevel=3)
            self._failed = True
