"""A power cut: what was not fsynced is gone, what was acknowledged loads.

The system calls of some saves are recorded, and after every prefix of them the disk is made up as a power cut may leave
it: data that was not fsynced is zeros, and names that were not fsynced are there, or are not.
"""

import os
from functools import partial
from pathlib import Path

import torch

from hafs.core import durable
from hafs.runs.checkpoints import Checkpoints
from hafs.training.rollback import Rollback, RollbackLog


class Recorder:
    """Watches one folder: what of it would survive a power cut, before each system call that changes it.

    Args:
        root: The folder.
        look: Is called with the number of a call before it is made.
    """

    CALLS = ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync")

    def __init__(self, root, look, monkeypatch):
        self.root, self.look, self.count, self.busy = root, look, 0, False
        self.data, self.names, self.held = {}, {}, []  # by inode: synced bytes; synced entries of a folder
        self.names[root.stat().st_ino] = {}
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), name))

    def _watched(self, real, name):
        def call(*arguments, **options):
            if self.busy:  # making up a disk makes system calls of its own
                return real(*arguments, **options)
            self.now()
            result = real(*arguments, **options)
            if name == "fsync":
                self._synced(arguments[0])
            return result

        return call

    def now(self):
        """Look at what would survive if the power went now."""
        self.busy = True
        self.hold()
        self.look(self.count)
        self.count += 1
        self.busy = False

    def hold(self):
        """Keep every inode open, so that its number is not given to another."""
        for path in [self.root, *self.root.rglob("*")]:
            inode = path.stat().st_ino
            if inode not in {number for number, _ in self.held}:
                self.held.append((inode, os.open(path, os.O_RDONLY)))

    def _synced(self, handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path.is_dir():
            self.names[path.stat().st_ino] = {child.name: child.stat().st_ino for child in path.iterdir()}
        else:
            self.data[path.stat().st_ino] = path.read_bytes()

    def content(self, inode, size):
        """Synced bytes, and zeros for the rest."""
        synced = self.data.get(inode, b"")[:size]
        return synced + bytes(size - len(synced))

    def disk_with_names(self, target):
        """All names as they were, unsynced data zeroed."""
        for path in sorted(self.root.rglob("*")):
            copy = target / path.relative_to(self.root)
            if path.is_dir():
                copy.mkdir()
            else:
                copy.write_bytes(self.content(path.stat().st_ino, path.stat().st_size))

    def disk_without_names(self, target, inode=None):
        """Only names that were synced."""
        for name, child in self.names.get(inode or self.root.stat().st_ino, {}).items():
            if child in self.data:
                (target / name).write_bytes(self.data[child])
            elif child in self.names:
                (target / name).mkdir()
                self.disk_without_names(target / name, child)
            elif (handle := dict(self.held).get(child)) and os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
                (target / name).mkdir()
            else:
                (target / name).write_bytes(b"")

    def close(self):
        for _, handle in self.held:
            os.close(handle)


def state(step, again=0):
    return {"cursor": {"total": step}, "trained": {"w": torch.arange(100.0) + step}, "again": again}


def watched(root, tmp_path, patch, work):
    """Do some work in a folder; the disks that a power cut at each of its calls leaves, with what was done by then."""
    images = []

    def look(count):
        for form in ("with", "without"):
            image = tmp_path / f"image-{count:03d}-{form}"
            image.mkdir()
            getattr(recorder, f"disk_{form}_names")(image)
            images.append((image, list(done)))

    done = []
    recorder = Recorder(root, look, patch)
    for each in work:
        done.append(each())
    recorder.now()
    recorder.close()
    return images


def test_a_small_file_is_old_or_new_after_every_prefix_of_its_writes(tmp_path, monkeypatch):
    (root := tmp_path / "run").mkdir()
    rollbacks = RollbackLog(root)

    def decide(number):
        rollbacks.decide(Rollback(stage=1, to=number, left_out=(number, number), why="the loss is nan"))
        return number

    with monkeypatch.context() as patch:
        images = watched(root, tmp_path, patch, [partial(decide, number) for number in (1, 2, 3)])
    assert len(images) >= 20
    for image, done in images:
        durable.sweep_leftovers(image)
        found = [decision.to for decision in RollbackLog(image).of(1)]
        assert found[: len(done)] == done, image.name
        assert len(found) <= len(done) + 1


def test_after_every_prefix_of_a_saves_system_calls_what_was_acknowledged_loads(tmp_path, monkeypatch):
    (root := tmp_path / "checkpoints").mkdir()
    checkpoints = Checkpoints(root, keep=2)

    def save(step, again):
        checkpoints.save(step, state(step, again))
        return step

    saves = [(1, 0), (2, 0), (3, 0), (3, 1), (4, 0)]  # rotation, and a step that is saved again
    with monkeypatch.context() as patch:
        images = watched(root, tmp_path, patch, [partial(save, *each) for each in saves])
    assert len(images) > 80
    for image, acknowledged in images:
        durable.sweep_leftovers(image)  # as the next start does
        found = Checkpoints(image).newest() if acknowledged else None
        assert not acknowledged or found, image.name
        if found:
            step = found[1]["cursor"]["total"]
            assert step >= max(acknowledged), f"{image.name}: {step} loads, {acknowledged} were acknowledged"
            assert torch.equal(found[1]["trained"]["w"], state(step)["trained"]["w"])
