"""Trackio, a tracker on this machine: its database and dashboard need no account (`trackio show`)."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class TrackioLogger(Logger):
    """Writes figures and config to Trackio's database; a resumed run continues under its name.

    Args:
        project: The project in Trackio's dashboard.
        name: The run in it.
        save_dir: The run's folder; the database of all runs is in `trackio/` beside it, or where TRACKIO_DIR says.

    Raises:
        ModuleNotFoundError: Trackio is not installed.
    """

    def __init__(self, *, project: str, name: str, save_dir: str) -> None:
        super().__init__()
        os.environ.setdefault(
            "TRACKIO_DIR", str(Path(save_dir).resolve().with_name("trackio"))
        )  # read when it is imported
        self._trackio = import_module("trackio")
        self._project, self._name = project, name
        self._run: Any = None
        self._config: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run."""
        return self._name

    def _opened(self) -> Any:
        if self._run is None:
            self._run = self._trackio.init(
                project=self._project, name=self._name, config=self._config, resume="allow",
                embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Write the run's config, which Trackio takes only when a run is opened."""
        self.finalize("success")
        self._config = dict(params)
        self._opened()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write figures of a step."""
        self._opened().log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is buffered; a later stage opens the run again."""
        if self._run is not None:
            self._run.finish()
            self._run = None
