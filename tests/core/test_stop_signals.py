"""Signals within one process: what is noted, and where it is obeyed."""

import signal

import pytest

from hafs.core.errors import Interrupted
from hafs.core.signals import StopSignals


class SignalledWhenDeleted:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_while_an_object_is_deleted_prints_no_traceback_and_is_obeyed_at_the_next_look(capsys):
    with StopSignals() as stop:
        SignalledWhenDeleted()
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            stop.obey()
    assert capsys.readouterr().err == ""


def test_other_errors_of_a_deletion_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", told.append)

    class Faulty:
        def __del__(self):
            raise ValueError("in a deletion")

    with StopSignals():
        Faulty()
    assert [type(each.exc_value) for each in told] == [ValueError]
