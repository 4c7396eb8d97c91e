"""Signals that come before a command runs, while Python imports what hafs needs; Ctrl-C at commands without saves."""

import os
import signal
import subprocess
import sys

import pytest

HOOK = """
import os, sys

class AtImport:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), int(os.environ["NUMBER"]))

sys.meta_path.insert(0, AtImport())
"""
FIRST_TO_LAST = ("hafs.train", "omegaconf", "pydantic", "hydra.core.config_store", "hafs.config.hydra_command")
"""Modules in the order of their import, all of them before the command listens."""


@pytest.fixture
def hooked(here):
    """Starts a command that is sent a signal when it imports a module."""
    (here / "sitecustomize.py").write_text(HOOK)

    def start(command, *, at, number):
        paths = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
        environ = {**os.environ, "PYTHONPATH": paths, "AT": at, "NUMBER": str(int(number))}
        return subprocess.run(command, check=False, cwd=here, env=environ, capture_output=True, text=True, timeout=60)

    return start


@pytest.mark.parametrize("at", FIRST_TO_LAST)
def test_a_signal_before_the_command_is_open_ends_the_process_and_says_nothing(here, hooked, at):
    for number in (signal.SIGINT, signal.SIGTERM):
        done = hooked([sys.executable, "-m", "hafs.train"], at=at, number=number)
        assert (done.returncode, done.stdout, done.stderr) == (-number, "", ""), (at, number)
    assert [path.name for path in here.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


def test_the_installed_script_is_as_quiet(hooked):
    script = "import sys; sys.argv[0] = '/usr/bin/hafs'; from hafs.cli import main; main()"
    done = hooked([sys.executable, "-c", script, "train"], at="hafs.train", number=signal.SIGINT)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_ctrl_c_while_the_config_is_composed_ends_in_two_lines(here, hooked):
    done = hooked([sys.executable, "-m", "hafs.train", "model=tiny"], at="torch", number=signal.SIGINT)
    assert done.returncode == 75
    assert done.stderr == "hafs: stopped by SIGINT; nothing is lost\n-> the same command continues\n"


def test_ctrl_c_at_another_command_ends_in_a_line(hooked):
    words = ["-m", "hafs", "plan", "model=tiny"]
    done = hooked([sys.executable, *words], at="hafs.planning.plan_builder", number=signal.SIGINT)
    assert (done.returncode, done.stderr) == (130, "hafs: stopped by SIGINT\n")


def test_a_program_that_imports_hafs_keeps_its_own_ctrl_c(hooked):
    code = "import hafs\ntry:\n    import hafs.runs.run_folder\nexcept KeyboardInterrupt:\n    print('mine')"
    done = hooked([sys.executable, "-c", code], at="hafs.runs.run_folder", number=signal.SIGINT)
    assert (done.returncode, done.stdout) == (0, "mine\n")
