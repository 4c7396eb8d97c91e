"""A run that others torment: three short stages with dropout, in processes of their own, compared step by step.

Processes are forked from one that has the libraries loaded, so that a start takes a second; what happens in them is
the command's own `main`, with a command line, exit codes and files as anybody's.
"""

import hashlib
import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import tiny_runs
from tiny_runs import COMMON, events

from hafs.runs.checkpoints import Checkpoints

TORMENTED = (
    *COMMON,
    "callbacks.checkpoint.every_steps=3",
    "callbacks.checkpoint.keep=2",
    "callbacks.progress=null",
    "adapter.lora_dropout=0.3",
    "stage.main.batch_size=4",
)
"""1 + 2 x 5 + 1 steps; checkpoints at 3, 6 (an epoch's end), 9, 11 and 12."""

_modules = [str(Path(__file__).parent), str(Path(tiny_runs.__file__).parent)]
os.environ["PYTHONPATH"] = os.pathsep.join([*_modules, os.environ.get("PYTHONPATH", "")])
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["preloaded"])


def write_rows(folder, count=40):
    """The rows that `TORMENTED` trains on."""
    tiny_runs.write_rows(folder / "rows.jsonl", count)


def _child(words, folder, failpoints, environ, patch):
    """A process's whole life: the training command, with its words; what it says goes to `said`."""
    assert "preloaded" in sys.modules
    os.chdir(folder)
    os.environ.update(environ)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    from hafs.core import failpoints as places
    from hafs.train import main

    places.arm(failpoints)
    if patch:
        patch()
    sys.argv = ["hafs.train", *words]
    main()


_started = []


class Started:
    """A process that trains in a folder."""

    def __init__(self, folder, *words, failpoints="", patch=None, environ=None):
        self.folder = Path(folder)
        words = tiny_runs.with_common(*words, common=TORMENTED)
        arguments = (words, str(folder), failpoints, environ or {}, patch)
        self.process = _context.Process(target=_child, args=arguments)
        self.process.start()
        _started.append(self)

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.process.pid, number)

    def alive(self):
        return self.process.is_alive()

    def kill(self):
        self.process.kill()
        return self.ended()

    def ended(self, seconds=120):
        """The exit code; -9 after a kill."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still at work after {seconds} s:\n{said(self.folder)}"
        return self.process.exitcode

    def until(self, condition, seconds=60):
        """Wait until something holds, or the process ends."""
        deadline = time.monotonic() + seconds
        while self.alive() and not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain:\n{said(self.folder)}"
            time.sleep(0.005)


def kill_the_rest():
    """End what a failed test left at work, or stopped."""
    for started in _started:
        if started.alive():
            started.kill()
    _started.clear()


def train(folder, *words, **options):
    """Run to the end; returns the exit code."""
    return Started(folder, *words, **options).ended()


def said(folder):
    """All that was printed in a folder."""
    path = Path(folder) / "said"
    return path.read_text() if path.exists() else ""


def steps(run):
    """What each step was, in its last telling: stage, epoch, sample ids, and loss and rate as exact bits."""
    return [
        (e["stage"], e["epoch"], e["step"], tuple(e["samples"]), e["loss"].hex(), float(e["lr"]).hex(), e["skipped"])
        for e in tiny_runs.steps(Path(run))
    ]


def adapter_hash(run):
    """Of the run's final adapter."""
    return hashlib.sha256((Path(run) / "adapter/adapter_model.safetensors").read_bytes()).hexdigest()


def outcome(run):
    """All that must be the same whatever happened on the way."""
    decisions = {
        e["stage"]: (e["kept"], e["total"], float(e["loss"] or "nan").hex()) for e in events(run, "stage_finished")
    }
    return {"steps": steps(run), "adapter": adapter_hash(run), "stages": decisions}


def assert_same(run, undisturbed):
    """Hold a run that was tormented against one that was not.

    Args:
        run: Its folder.
        undisturbed: The `outcome` of the other.
    """
    got = outcome(run)
    for mine, theirs in zip(got["steps"], undisturbed["steps"], strict=True):
        assert mine == theirs
    assert got == undisturbed
    for stage, epoch in {step[:2] for step in got["steps"]}:
        ids = [i for step in got["steps"] if step[:2] == (stage, epoch) for i in step[3]]
        assert len(ids) == len(set(ids)), f"{stage}, epoch {epoch}: a sample was trained twice"


def assert_acknowledged_loads(run):
    """The newest checkpoint that a run said it had saved is there, whole; or its stage is finished."""
    run = Path(run)
    told = [event["total"] for event in events(run, "saved")]
    found = Checkpoints(run / "checkpoints").newest()
    closed = [json.loads(path.read_text())["total"] for path in run.glob("stages/*/stage.json")]
    newest = max([found[1]["cursor"]["total"] if found else 0, *closed])
    assert newest >= max(told, default=0), f"saved {told}, found {newest}"


def seeded(seed):
    """A source of accidents; its seed is printed when a test fails, and HAFS_FAULT_SEED replays it."""
    seed = int(os.environ.get("HAFS_FAULT_SEED", seed))
    print(f"replay with HAFS_FAULT_SEED={seed}")
    return random.Random(seed)
