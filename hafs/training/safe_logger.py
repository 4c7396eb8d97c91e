"""A logger that may fail, on a full disk or otherwise: what it could not write is lost, the run is not."""

import warnings
from collections.abc import Callable
from typing import Any

from pytorch_lightning.loggers import Logger


class SafeLogger(Logger):
    """Hands everything on to another logger; `events.jsonl` has the same figures.

    Lightning does not see the other one's `experiment`, so that it is opened here too.

    Args:
        inner: Writes.
        tell: Is told of the first failure, with the kind and the facts, for `events.jsonl`.
    """

    def __init__(self, inner: Logger, *, tell: Callable[..., None]) -> None:
        super().__init__()
        self.inner, self.tell = inner, tell
        self._refused = False

    @property
    def name(self) -> str | None:
        """Of the other."""
        return self.inner.name

    @property
    def version(self) -> int | str | None:
        """Of the other."""
        return self.inner.version

    @property
    def save_dir(self) -> str | None:
        """Of the other."""
        return self.inner.save_dir

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Write metrics."""
        self._try(self.inner.log_metrics, *args, **kwargs)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Write what the run is made of."""
        self._try(self.inner.log_hyperparams, *args, **kwargs)

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        """Write the model's graph."""
        self._try(self.inner.log_graph, *args, **kwargs)

    def save(self) -> None:
        """Flush."""
        self._try(self.inner.save)

    def finalize(self, status: str) -> None:
        """Flush and let go."""
        self._try(self.inner.finalize, status)

    def _try(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            write(*args, **kwargs)
        except Exception as error:  # a full disk has many names: TensorBoard calls it a ValueError
            if not self._refused:
                name, why = type(self.inner).__name__, str(error.__cause__ or error)
                self.tell("logging_refused", logger=name, why=why)
                warnings.warn(f"{name} cannot write: {why}; training goes on", stacklevel=3)
            self._refused = True
