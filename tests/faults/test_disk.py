"""Disks that refuse: training continues and says so, what was saved stays, a later save works."""

import resource
import signal

import pytest
import torch
from harness import Started, assert_same, events, said, train

from hafs.runs.checkpoints import Checkpoints
from hafs.runs.events import Events


@pytest.mark.parametrize("number", ["ENOSPC", "EIO", "EROFS"])
def test_a_failed_save_loses_the_checkpoint_and_never_the_run(rows, undisturbed, number):
    run = rows / "outputs/run"
    places = ("commit.begun@step-00000003", "commit.synced@step-00000006", "commit.sealed@step-00000009")
    assert train(rows, failpoints=" ".join(f"{place}:{number}" for place in places)) == 0, said(rows)[-2000:]
    assert_same(run, undisturbed)
    assert [event["total"] for event in events(run, "save_failed")] == [3, 6, 9]
    assert [event["total"] for event in events(run, "saved")] == [1, 11, 12]
    assert "no checkpoint at step 3" in said(rows)
    assert not list(run.glob("checkpoints/.*"))


def test_a_full_disk_at_the_end_of_a_stage_ends_in_two_lines_and_the_run_goes_on_later(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="commit.written@02-main:ENOSPC") == 2
    told = said(rows).splitlines()[-2:]
    assert "No space left on device" in told[0]
    assert told[1].startswith("-> ")
    assert "Traceback" not in said(rows)
    assert train(rows) == 0
    assert_same(run, undisturbed)


def state(step):
    return {"cursor": {"total": step}, "trained": {"w": torch.arange(50_000.0) + step}}


def test_a_real_limit_on_file_size_leaves_earlier_checkpoints_and_a_later_save_works(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"state\.pt|File too large"):
            checkpoints.save(2, state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-00000001"]
    assert torch.equal(checkpoints.newest()[1]["trained"]["w"], state(1)["trained"]["w"])
    checkpoints.save(3, state(3))
    assert checkpoints.newest()[0].name == "step-00000003"


@pytest.mark.parametrize("logger", ["tensorboard", "csv"])
def test_a_folder_that_a_logger_cannot_create_loses_its_figures_and_never_the_run(rows, undisturbed, logger):
    run = rows / "outputs/run"
    run.mkdir(parents=True)
    (run / "logs").write_text("in the way")
    assert train(rows, f"logger={logger}") == 0, said(rows)[-2000:]
    assert_same(run, undisturbed)
    assert len(events(run, "logging_refused")) == 1
    assert said(rows).count("Logger cannot write: ") == 1
    assert (run / "logs").read_text() == "in the way"


def fill_the_disk_of_tensorboard():
    from tensorboard.compat.tensorflow_stub.io import gfile

    real = gfile.GFile.write

    def refusing(self, content):
        if b"train/loss" in content:
            raise OSError(28, "No space left on device")
        return real(self, content)

    gfile.GFile.write = refusing


def test_a_disk_that_fills_up_while_tensorboard_writes_does_not_end_the_run(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, "logger=tensorboard", patch=fill_the_disk_of_tensorboard) == 0, said(rows)[-2000:]
    assert_same(run, undisturbed)
    (told,) = events(run, "logging_refused")
    assert "No space left on device" in told["why"]


def test_lines_that_could_not_be_written_are_written_later(tmp_path, monkeypatch):
    import os

    events_file, real, full = Events(tmp_path / "events.jsonl"), os.write, True

    def refusing(handle, data):
        if full:
            raise OSError(28, "No space left on device")
        return real(handle, data[:7])  # and a disk that takes little at a time

    events_file.append("first")
    monkeypatch.setattr("hafs.runs.events.os.write", refusing)
    with pytest.warns(UserWarning, match="training continues"):
        events_file.append("second")
    events_file.append("third")  # told once
    full = False
    events_file.append("fourth")
    assert [event["event"] for event in events_file.read()] == ["first", "second", "third", "fourth"]


def refuse_events():
    import os

    from hafs.runs import events as file

    real = os.write

    def refusing(handle, data):
        if b'"event":"step","stage":"main","epoch":0' in bytes(data):
            raise OSError(28, "No space left on device")
        return real(handle, data)

    file.os = type("os", (), {**vars(os), "write": staticmethod(refusing)})


def test_a_disk_too_full_for_events_does_not_end_the_run(rows, undisturbed):
    assert train(rows, patch=refuse_events) == 0, said(rows)[-2000:]
    assert events(rows / "outputs/run", "stage_started")
    assert Started(rows).ended() == 0
