"""Replaces parts of Lightning's Trainer: `signals.py` handles signals, `ranks.py` starts processes."""

from typing import Any

from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector

from hafs.core.errors import ConfigError

_KNOWN = (SingleDeviceStrategy, DDPStrategy)
_NAMES = ("auto", "ddp")


class Unheard(_SignalConnector):
    """Lightning's signal connector, without its handlers.

    Lightning's handler of SIGTERM broadcasts to other processes from where the signal came, and makes the loops raise a
    SystemExit without a code after hafs has checked for a stop: the run would end with exit code 0, unsaved. Its
    requeueing under SLURM is not needed either: exit code 75 says that the same command continues.
    """

    def register_signal_handlers(self) -> None:
        """Do nothing: hafs has its own handlers."""

    def teardown(self) -> None:
        """Do nothing: no handler was replaced."""


def with_our_signals(trainer: Any) -> Any:
    """The Trainer without Lightning's signal handlers."""
    trainer._signal_connector = Unheard(trainer)
    return trainer


def refuse_unknown_name(strategy: Any) -> None:
    """Check a strategy's name against the supported ones, before Lightning looks for its package.

    FSDP is not supported: each process holds a part of the adapter, and hafs saves only one process's part.

    Raises:
        ConfigError: The strategy is not supported.
    """
    if isinstance(strategy, str) and strategy not in _NAMES:
        raise _unknown(repr(strategy))


def refuse_unknown_strategy(trainer: Any) -> None:
    """Check the strategy that Lightning built.

    Raises:
        ConfigError: It is of another class (subclasses included), or it forks this process.
    """
    name = type(trainer.strategy).__name__
    if type(trainer.strategy) not in _KNOWN:
        raise _unknown(name)
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise _unknown(f"{name} that forks or spawns")


def lightning_refuses(error: Exception) -> ConfigError:
    """Lightning's error about the trainer config, as one line."""
    return ConfigError(f"trainer: {' '.join(str(error).split())}", hint="trainer=auto, trainer=cpu or trainer=ddp")


def _unknown(which: str) -> ConfigError:
    return ConfigError(
        f"trainer.strategy is {which}, and hafs supports {', '.join(_NAMES)}",
        hint="trainer=ddp for several devices, trainer=auto for one",
    )
