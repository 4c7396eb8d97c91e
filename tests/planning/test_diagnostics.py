"""The doctor: what it finds, what it says to do, and what it never shows."""

import json
import os
import subprocess
import sys

import pytest

from hafs.planning import diagnostics
from hafs.planning.diagnostics import examine, machine
from hafs.planning.diagnostics.software import bad_releases, differing


def test_a_healthy_machine_is_reported_in_time_and_keys_are_never_shown(here):
    secret = "sk-canary-0123456789abcdef"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENROUTER_API_KEY": secret, "COLUMNS": "140"}
    command = [sys.executable, "-m", "hafs", "doctor", "json=true", "time_source=null"]
    out = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=60, check=False)
    found = {one["name"]: one for one in json.loads(out.stdout)}
    assert out.returncode == (2 if any(one["state"] == "broken" for one in found.values()) else 0), out.stderr
    assert found["NF4 product"]["state"] == "ok"
    assert found["Python"]["state"] == "ok"
    assert "OPENROUTER_API_KEY" in out.stdout
    assert secret not in out.stdout + out.stderr
    assert list(here.iterdir()) == []


def test_malware_is_broken_and_old_releases_are_noted():
    found = list(bad_releases({"pytorch-lightning": "2.6.3", "torch": "2.9.1+cu128"}))
    assert [one.state for one in found] == ["broken", "note"]
    assert "pip uninstall pytorch-lightning" in found[0].todo
    assert next(bad_releases({"torch": "2.13.0+cpu"})).state == "ok"


def test_versions_are_compared_with_the_constraints():
    here = {"torch": "2.13.0+cpu", "tensorboard-data-server": "0.7.1"}
    told = list(differing("# good\ntorch==2.13.0\ntensorboard_data_server==0.7.2  # why\nabsent==1\n", here))
    assert told == ["tensorboard_data_server 0.7.1 (tested: 0.7.2)"]


@pytest.mark.parametrize(("free", "state"), [(100_000_000, "broken"), (2_000_000_000, "note"), (50_000_000_000, "ok")])
def test_a_full_disk_is_broken(here, monkeypatch, free, state):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert {one.state for one in machine.disk()} == {state}


def test_a_check_that_raises_is_a_finding(monkeypatch):
    def torn():
        raise ImportError("libcudart.so.12: cannot open shared object file")
        yield

    found = diagnostics._safely(torn)
    assert [(one.name, one.state) for one in found] == [("torn", "broken")]


def test_a_clock_that_is_off_is_noted(monkeypatch):
    class Answer:
        def __init__(self):
            self.headers = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(machine, "urlopen", lambda *_, **__: Answer())
    assert [one.state for one in machine.clock("https://x")] == ["note"]
    monkeypatch.undo()
    assert "not compared" in next(iter(machine.clock("http://192.0.2.1"))).said


def test_something_broken_ends_with_exit_code_2(here, monkeypatch):
    monkeypatch.setattr(machine, "MEMORY_BROKEN", 10**18)
    assert any(one.state == "broken" and one.name == "memory" for one in examine(time_source=None))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("json=3", "json is 3"),
        ("time_source=nonsense", "time_source is 'nonsense'"),
        ("x", "'x' is not an override of hafs doctor"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(here, word, said):
    told = subprocess.run([sys.executable, "-m", "hafs", "doctor", word], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(f"hafs: {said}")
    assert len(told.stderr.splitlines()) <= 2
