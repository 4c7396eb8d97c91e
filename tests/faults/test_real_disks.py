"""File systems that really refuse: a small tmpfs that fills up, folders mounted read-only; where that is permitted."""

import ctypes
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from harness import assert_same, events, said, train
from test_disk import state

from hafs.runs.checkpoints import Checkpoints

MS_RDONLY, MS_REMOUNT, MS_BIND, MNT_DETACH = 1, 32, 4096, 2
_libc = ctypes.CDLL(None, use_errno=True)


def mount(what, place, kind, flags, data=""):
    words = (os.fsencode(what), os.fsencode(place), kind.encode(), flags, data.encode())
    if _libc.mount(*words):
        raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make_read_only(folder):
    """Mount a folder over itself so that it refuses writers, be they root."""
    mount(folder, folder, "none", MS_BIND)
    mount(folder, folder, "none", MS_BIND | MS_REMOUNT | MS_RDONLY)


def unmount(place):
    """What was there before is seen again."""
    _libc.umount2(os.fsencode(place), MNT_DETACH)


@pytest.fixture
def disk(rows):
    """`outputs/` on a file system of 4 MiB."""
    (place := rows / "outputs").mkdir()
    try:
        mount("tmpfs", place, "tmpfs", 0, "size=4m")
    except PermissionError as refused:
        pytest.skip(f"mounting is not permitted here: {refused.strerror}")
    yield place
    unmount(place / "run/checkpoints")  # where a failed test left it mounted
    unmount(place / "run")
    unmount(place)


def test_a_full_small_disk_leaves_earlier_checkpoints_and_a_later_save_works(disk):
    checkpoints = Checkpoints(disk / "checkpoints", keep=99)
    made = []
    with pytest.raises(OSError):
        for step in range(1, 99):
            checkpoints.save(step, state(step))
            made.append(step)
    assert checkpoints.steps() == made
    assert checkpoints.newest()[1]["cursor"]["total"] == made[-1]
    shutil.rmtree(checkpoints.all()[0])
    checkpoints.save(99, state(99))
    assert checkpoints.newest()[0].name == "step-00000099"


def from_step_4_to_8(begin, end):
    """Do something to the disk at the start of one step, and undo it at that of another."""
    from hafs.training.module import FineTuningModule

    real = FineTuningModule.training_step

    def step(self, *arguments):
        if self.cursor.total in (4, 8):
            (begin if self.cursor.total == 4 else end)()
        real(self, *arguments)

    FineTuningModule.training_step = step


def fill():
    with Path("outputs/other").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)):
            pass


def full_for_a_while():
    """Somebody else's file takes all that is left of the disk, and goes again."""
    from_step_4_to_8(fill, Path("outputs/other").unlink)


def read_only_for_a_while():
    checkpoints = Path("outputs/run/checkpoints")
    from_step_4_to_8(partial(make_read_only, checkpoints), partial(unmount, checkpoints))


def test_a_disk_that_is_full_for_a_while_costs_checkpoints_and_no_step_no_line_and_no_run(disk, rows, undisturbed):
    run = disk / "run"
    assert train(rows, "logger=tensorboard", patch=full_for_a_while) == 0, said(rows)[-3000:]
    assert_same(run, undisturbed)
    assert [event["total"] for event in events(run, "step")] == list(range(12))  # written later
    assert [event["total"] for event in events(run, "save_failed")] == [6]
    assert [event["total"] for event in events(run, "saved")] == [1, 3, 9, 11, 12]
    assert "events.jsonl cannot be written: No space left on device; training continues" in said(rows)
    assert list((run / "logs").rglob("events.out.tfevents*"))


def test_checkpoints_that_are_read_only_for_a_while_stay_and_a_later_save_works(disk, rows, undisturbed):
    run = disk / "run"
    assert train(rows, patch=read_only_for_a_while, failpoints="step.done@step-00000007:kill") == -9
    assert [event["total"] for event in events(run, "save_failed")] == [6]
    assert "no checkpoint at step 6: [Errno 30] Read-only file system" in said(rows)
    assert Checkpoints(run / "checkpoints").steps() == [3]
    unmount(run / "checkpoints")
    assert train(rows, patch=read_only_for_a_while) == 0, said(rows)[-3000:]
    assert [event["total"] for event in events(run, "save_failed")] == [6, 6]
    assert [event["total"] for event in events(run, "saved")] == [1, 3, 9, 11, 12]
    assert_same(run, undisturbed)


def test_a_run_on_a_read_only_disk_is_refused_in_a_line_and_unharmed(disk, rows, undisturbed):
    run = disk / "run"
    assert train(rows, failpoints="step.done@step-00000008:kill") == -9
    make_read_only(run / "checkpoints")
    assert train(rows) == 2
    assert "hafs: a checkpoint cannot be written to outputs/run: [Errno 30] Read-only file system" in said(rows)
    make_read_only(run)
    assert train(rows) == 2
    line, hint = said(rows).splitlines()[-2:]
    assert line == "hafs: outputs/run cannot be written: Read-only file system"
    assert hint == "-> check that its disk is mounted for writing and that the folder is yours"
    unmount(run)
    unmount(run / "checkpoints")
    assert train(rows) == 0, said(rows)[-3000:]
    assert_same(run, undisturbed)
