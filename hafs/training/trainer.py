"""What hafs takes over from Lightning's Trainer: nobody but `signals.py` hears a signal."""

from typing import Any

from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector


class Unheard(_SignalConnector):
    """Lightning's signal connector, without its handlers.

    Lightning's handler of SIGTERM broadcasts to other processes from where the signal came, and has the loops raise a
    SystemExit without a code where hafs has already looked: the run would end with exit code 0, unsaved. Its requeueing
    under SLURM is not needed either: exit code 75 says that the same command continues.
    """

    def register_signal_handlers(self) -> None:
        """Leave the handlers as they are."""

    def teardown(self) -> None:
        """Nothing was changed, so nothing is put back."""


def with_our_signals(trainer: Any) -> Any:
    """The Trainer, without handlers of its own while it is at work."""
    trainer._signal_connector = Unheard(trainer)
    return trainer
