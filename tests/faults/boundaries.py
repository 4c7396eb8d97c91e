"""A copy of the process at boundaries between two lines, each sent a signal there; what became of it is noted.

A process that trains forks at a line (or bytecode) of hafs or of Lightning. The copy gets a copy of the run's folder,
hears a signal and goes on to its end. The original waits for it, notes its exit code and the state that it saved, and
goes on undisturbed to the next boundary.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from hafs.runs.checkpoints import Checkpoints

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
NOTES, STATES = "boundaries.jsonl", "states.jsonl"
_OURS = (f"{os.sep}hafs{os.sep}", f"{os.sep}pytorch_lightning{os.sep}")


class Boundaries:
    """Traces this process and forks it.

    Args:
        every: Fork at one of so many boundaries.
        first: The first of them.
        once: Only where a line is met for the first time.
        opcodes: Bytecodes, not lines.
    """

    def __init__(self, *, every=1, first=0, once=True, opcodes=False):
        self.every, self.first, self.once, self.opcodes = every, first, once, opcodes
        self.seen, self.count, self.at_work = set(), 0, False

    def begin(self):
        """From here on; the frames that are already under way included."""
        self.at_work = True
        sys.settrace(self._trace)
        frame = sys._getframe(1)
        while frame is not None:
            self._trace(frame, "call", None)
            frame = frame.f_back

    def end(self):
        """Until here."""
        self.at_work = False
        sys.settrace(None)

    def _trace(self, frame, event, _):
        if not self.at_work or not any(part in frame.f_code.co_filename for part in _OURS):
            return None
        if event == "call":
            frame.f_trace, frame.f_trace_opcodes = self._trace, self.opcodes
        place = (frame.f_code.co_filename, frame.f_lineno, frame.f_lasti if self.opcodes else 0)
        if event not in ("line", "opcode") or (self.once and place in self.seen):
            return self._trace
        self.seen.add(place)
        self.count += 1
        if self.count % self.every == self.first % self.every:
            self._fork(SIGNALS[self.count // self.every % len(SIGNALS)], place)
        return self._trace

    def _fork(self, number, place):
        home = Path(f"copies/{self.count}")
        home.mkdir(parents=True)
        shutil.copy("rows.jsonl", home)
        if Path("outputs").exists():
            shutil.copytree("outputs", home / "outputs")
        child = os.fork()
        if child == 0:
            self.end()
            _move_to(home)
            os.kill(os.getpid(), number)
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        newest = Checkpoints(home / "outputs/run/checkpoints").newest()
        note = {"place": place, "signal": number.name, "code": code, "saved": newest and digest(newest[1])}
        _note(NOTES, note | {"home": str(home)})


def _move_to(home):
    """Into a copied folder, the open files of events included."""
    os.chdir(home)
    for link in Path("/proc/self/fd").iterdir():
        if link.exists() and link.readlink().name == "events.jsonl":
            copy = os.open("outputs/run/events.jsonl", os.O_RDWR | os.O_APPEND)
            os.dup2(copy, int(link.name))


def _note(path, thing):
    with Path(path).open("a") as file:
        print(json.dumps(thing), file=file)


def noted(path=NOTES):
    """What became of the copies, or the states of the original after each step."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def digest(state):
    """Of all that decides what comes next: step, weights and optimizer."""
    total = hashlib.sha256(json.dumps(state["cursor"]).encode())
    for name, tensor in sorted(state["trained"].items()):
        total.update(name.encode() + tensor.contiguous().numpy().tobytes())
    for number, moments in sorted(state["optimizer"]["state"].items()):
        for name, value in sorted(moments.items()):
            total.update(f"{number} {name}".encode() + value.contiguous().numpy().tobytes())
    return [state["cursor"]["total"], total.hexdigest()]


def at_every_boundary_of_a_step():
    """From the beginning of the step that STEP names to the beginning of the next one."""
    from hafs.training.callbacks.checkpoint import Checkpoint
    from hafs.training.module import FineTuningModule

    boundaries, at = Boundaries(**json.loads(os.environ["BOUNDARIES"])), int(os.environ["STEP"])
    step, ended, original = FineTuningModule.training_step, Checkpoint.on_train_batch_end, os.getpid()

    def begun(self, *arguments):
        if self.cursor.total == at:
            boundaries.begin()
        elif self.cursor.total == at + 1:
            boundaries.end()
        return step(self, *arguments)

    def noting(self, trainer, module, *arguments):
        if os.getpid() == original:
            _note(STATES, digest(module.state()))
        return ended(self, trainer, module, *arguments)

    FineTuningModule.training_step, Checkpoint.on_train_batch_end = begun, noting


def at_every_boundary_of_a_run():
    """From the check of the config to the end."""
    from hafs.config import hydra_command

    boundaries = Boundaries(**json.loads(os.environ["BOUNDARIES"]))
    real = hydra_command.check

    def begun(*arguments, **options):
        boundaries.begin()
        return real(*arguments, **options)

    hydra_command.check = begun
