"""Files that are not what they were: checkpoints, finished stages, the run's own record, hostile pickles."""

import json
import os
import pickle
import random
import shutil
import time

import pytest
import torch
from harness import assert_same, events, said, seeded, train

from hafs.core import durable
from hafs.core.errors import RunError
from hafs.runs.checkpoints import Checkpoints

PAGE = 4096


def state_of(step):
    return {"cursor": {"total": step, "stage": 1}, "trained": {"w": torch.arange(4000.0) + step}, "callbacks": {}}


@pytest.fixture
def checkpoints(tmp_path):
    """Three checkpoints, of steps 1 to 3."""
    made = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2, 3):
        made.save(step, state_of(step))
    return made


def flip_a_bit(path, accidents):
    data = bytearray(path.read_bytes())
    data[accidents.randrange(len(data))] ^= 1 << accidents.randrange(8)
    path.write_bytes(data)


def truncate(path, accidents):
    os.truncate(path, accidents.randrange(path.stat().st_size))


def zero_a_page(path, accidents):
    data = bytearray(path.read_bytes())
    whole = [start for start in range(0, len(data), PAGE) if any(data[start : start + PAGE])]
    start = accidents.choice(whole)
    data[start : start + PAGE] = bytes(len(data[start : start + PAGE]))
    path.write_bytes(data)


def add_a_tail(path, accidents):
    with path.open("ab") as file:
        file.write(accidents.randbytes(accidents.randrange(1, 64)))


DAMAGES = (flip_a_bit, truncate, zero_a_page, add_a_tail)


def a_harmless_flip(folder):
    """A bit of the manifest's own white space may flip and change nothing."""
    try:
        durable.verify(folder)
    except durable.Damaged:
        return False
    return True


def damage_often(checkpoints, damage, times, accidents):
    whole = checkpoints.root.with_name("whole")
    shutil.copytree(checkpoints.root, whole)
    for _ in range(times):
        shutil.rmtree(checkpoints.root)
        shutil.copytree(whole, checkpoints.root)
        told = []
        checkpoints.tell = lambda kind, told=told, **facts: told.append(facts)
        target = checkpoints.root / "step-00000003" / accidents.choice(("state.pt", "state.pt", "MANIFEST.json"))
        damage(target, accidents)
        if target.name == "MANIFEST.json" and a_harmless_flip(target.parent):
            continue
        folder, state = checkpoints.newest()
        assert folder.name == "step-00000002", (damage.__name__, target.name)
        assert torch.equal(state["trained"]["w"], state_of(2)["trained"]["w"])
        assert told[0]["checkpoint"] == "step-00000003"
        assert told[0]["why"]
        assert (checkpoints.root / "damaged-step-00000003").is_dir()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_the_checkpoint_before_is_taken(checkpoints, damage):
    damage_often(checkpoints, damage, 12, seeded(random.randrange(2**32)))


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_two_hundred_times(checkpoints, damage):
    damage_often(checkpoints, damage, 200, seeded(random.randrange(2**32)))


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{}",
        "[]",
        '{"files": {}}',
        '{"files": []}',
        '{"files": {"state.pt": [1]}}',
        '{"files": {"state.pt": null}}',
        '{"files": {"state.pt": [1, "a"], "../x": [1, "a"]}}',
        "\x00" * 40,
    ],
)
def test_a_manifest_that_lists_something_else_is_damage(checkpoints, manifest):
    (checkpoints.root / "step-00000003/MANIFEST.json").write_text(manifest)
    assert checkpoints.newest()[0].name == "step-00000002"


def test_an_empty_folder_and_a_foreign_one_are_damage(checkpoints):
    (checkpoints.root / "step-00000004").mkdir()
    shutil.copytree(checkpoints.root / "step-00000001", checkpoints.root / "step-00000005")  # whole, of another step
    assert checkpoints.newest()[0].name == "step-00000003"
    assert len(list(checkpoints.root.glob("damaged-*"))) == 2


def test_the_time_of_files_says_nothing(checkpoints):
    for step, when in ((1, time.time() + 1e6), (2, 0), (3, 1)):
        for path in (checkpoints.root / f"step-{step:08d}").iterdir():
            os.utime(path, (when, when))
    assert checkpoints.newest()[0].name == "step-00000003"


def test_when_all_are_damaged_every_start_is_an_error_until_the_user_decides(checkpoints):
    for folder in checkpoints.all():
        truncate(folder / "state.pt", random.Random(1))
    for _ in range(3):
        with pytest.raises(RunError, match="every checkpoint of this stage") as error:
            checkpoints.newest()
        assert "damaged-*" in error.value.hint
    assert checkpoints.newest(after=3) is None  # a later stage lost nothing
    for folder in checkpoints.root.glob("damaged-*"):
        shutil.rmtree(folder)
    assert checkpoints.newest() is None


class Bomb:
    """Unpickled, it calls something."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def hostile(mark):
    """Fifteen states that do something when they are unpickled without care."""
    import builtins
    import importlib
    import runpy
    import subprocess

    import numpy

    touch, write = f"touch {mark}", f"open({str(mark)!r}, 'w')"
    state = state_of(3)
    return [
        Bomb(os.system, touch),
        Bomb(os.popen, touch),
        Bomb(builtins.exec, write),
        Bomb(builtins.eval, write),
        Bomb(builtins.open, str(mark), "w"),
        Bomb(subprocess.check_output, ["touch", str(mark)]),
        Bomb(subprocess.Popen, ["touch", str(mark)]),
        Bomb(os.mkdir, str(mark)),
        Bomb(os.open, str(mark), os.O_CREAT),
        Bomb(importlib.import_module, "antigravity"),
        Bomb(runpy.run_path, str(mark)),
        Bomb(numpy.save, str(mark), 1),
        state | {"trained": {"w": Bomb(os.system, touch)}},
        state | {"callbacks": [1, (2, Bomb(builtins.exec, write))]},
        state | {"optimizer": {Bomb(torch.save, 1, str(mark)): 1} if False else [Bomb(torch.save, 1, str(mark))]},
    ]


@pytest.mark.parametrize("number", range(15))
@pytest.mark.parametrize("plain", [False, True], ids=["zip", "bare pickle"])
def test_a_hostile_pickle_under_a_true_manifest_does_nothing(checkpoints, tmp_path, number, plain):
    mark = tmp_path / "mark"
    bomb = hostile(mark)[number]

    def write(draft):
        if plain:
            (draft / "state.pt").write_bytes(pickle.dumps(bomb))
        else:
            torch.save(bomb, draft / "state.pt")

    durable.commit(checkpoints.root / "step-00000004", write)
    folder, _ = checkpoints.newest()
    assert not mark.exists()
    assert folder.name == "step-00000003"
    assert (checkpoints.root / "damaged-step-00000004").exists()


def test_a_damaged_newest_checkpoint_of_a_run_costs_some_steps_and_nothing_else(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="step.done@step-00000008:kill") == -9
    flip_a_bit(run / "checkpoints/step-00000006/state.pt", seeded(random.randrange(2**32)))
    assert train(rows) == 0
    assert_same(run, undisturbed)
    assert events(run, "checkpoint_damaged")[0]["checkpoint"] == "step-00000006"
    assert "step-00000006 is damaged (the bytes of state.pt do not match its manifest)" in said(rows)
    assert "continuing from step-00000003" in said(rows)
    assert "1 damaged checkpoint; " in said(rows)


def test_a_run_without_a_whole_checkpoint_is_refused_with_exit_code_2(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="step.done@step-00000008:kill") == -9
    for path in run.glob("checkpoints/step-*/state.pt"):
        truncate(path, random.Random(1))
    for _ in range(2):
        assert train(rows) == 2
        assert "hafs: every checkpoint of this stage in outputs/run/checkpoints is damaged\n-> " in said(rows)
    for path in run.glob("checkpoints/damaged-*"):
        shutil.rmtree(path)
    assert train(rows) == 0
    assert_same(run, undisturbed)


def test_a_damaged_finished_stage_or_record_is_rejected_and_a_copy_fixes_it(rows, undisturbed):
    run, accidents = rows / "outputs/run", seeded(random.randrange(2**32))
    assert train(rows, failpoints="step.done@step-00000008:kill") == -9
    for name in ("stages/01-warmup/adapter/adapter_model.safetensors", "stages/00-base/stage.json", "run.json"):
        path = run / name
        before = path.read_bytes()
        flip_a_bit(path, accidents)
        try:
            harmless = name == "run.json" and json.loads(path.read_bytes()) == json.loads(before)
        except ValueError:
            harmless = False
        assert harmless or train(rows) == 2, said(rows)[-2000:]
        path.write_bytes(before)
    for words in ("the finished stage outputs/run/stages/01-warmup is damaged", "-> restore a copy of it"):
        assert words in said(rows)
    assert train(rows) == 0
    assert_same(run, undisturbed)


def test_a_trained_folder_without_its_record_is_refused_and_a_run_of_the_same_words_gives_one(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="step.done@step-00000005:kill") == -9
    (run / "run.json").unlink()
    for words in ((), ("adapter.r=8",)):
        assert train(rows, *words) == 2, said(rows)
    assert "hafs: outputs/run/run.json is missing, so the config cannot be compared\n-> restore a copy of it" in said(
        rows
    )
    assert train(rows, "name=again", failpoints="run.recorded:kill") == -9
    shutil.copy(rows / "outputs/again/run.json", run)
    assert train(rows) == 0, said(rows)[-2000:]
    assert_same(run, undisturbed)


def test_damaged_lines_of_events_are_skipped(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="step.done@step-00000008:kill") == -9
    with (run / "events.jsonl").open("ab") as file:
        file.write(b'\x00\x00\x00\n[1]\n{"event":"step","total":8}\n{"event":"st')
    assert train(rows) == 0, said(rows)[-3000:]
    assert_same(run, undisturbed)
