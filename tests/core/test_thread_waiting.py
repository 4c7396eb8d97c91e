"""Threads sleep while they wait where other programs keep the processors busy."""

import os
import subprocess
import sys

import pytest

from hafs.core import thread_waiting
from hafs.core.thread_waiting import ProcessorUse, sleep_if_busy

BEGAN = ProcessorUse(total=100.0, idle=50.0, own=1.0)


@pytest.fixture
def free(monkeypatch):
    """No setting, and no torch, as at the start of a command."""
    for name in thread_waiting.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.parametrize(
    ("idle", "own", "sleeps"),
    [(1.0, 1.0, False), (0.0, 1.0, True), (0.8, 0.8, False), (0.0, 2.0, False), (0.4, 1.0, True)],
)
def test_threads_sleep_if_other_programs_use_half_a_processor(free, monkeypatch, idle, own, sleeps):
    """One second of two processors."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")  # restored after the test
    now = ProcessorUse(total=102.0, idle=50.0 + idle, own=1.0 + own)
    assert sleep_if_busy(BEGAN, now) is sleeps
    assert os.environ.get("OMP_WAIT_POLICY") == ("PASSIVE" if sleeps else None)


def test_a_choice_of_the_user_stays(free, monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "5000")
    assert not sleep_if_busy(BEGAN, ProcessorUse(total=102.0, idle=50.0, own=1.0))
    assert "OMP_WAIT_POLICY" not in os.environ


def test_nothing_is_read_where_the_system_does_not_tell(tmp_path):
    assert ProcessorUse.now(tmp_path / "stat") is None
    assert not sleep_if_busy(None, None)


def test_a_busy_neighbour_is_noticed():
    """One process that computes; the reading of this process sleeps."""
    code = "import time; t = time.time()\nwhile time.time() < t + 20: pass"
    busy = subprocess.Popen([sys.executable, "-c", code])
    try:
        began = ProcessorUse.now()
        if began is None:
            pytest.skip("the system has no /proc/stat")
        busy.poll()
        thread_waiting.time.sleep(0.6)
        assert began.others_until(ProcessorUse.now(), os.cpu_count()) > 0.4
    finally:
        busy.kill()
        busy.wait()
