"""What is loaded is what was prepared: damaged files of the cache are noticed, said and made again."""

import hashlib
import json
import os
import shutil
import time

import pytest
import tiny_runs
import torch
from safetensors.torch import load_file
from tiny_runs import write_rows

from hafs.config import build, compose
from hafs.core import durable, failpoints, records
from hafs.core.errors import HafsError
from hafs.modeling import cache
from hafs.modeling.base_folder import base_sha256, weights_sha256
from hafs.modeling.base_model import quiet_libraries
from hafs.modeling.cache import prepared
from hafs.modeling.gguf.cache import base_file
from hafs.modeling.quantization import bitsandbytes


def flip(path, place=None):
    """Change one bit in the middle of a file, its size and times as they were."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "100 bytes": lambda path: os.truncate(path, min(100, path.stat().st_size - 1)),
    "random": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "null": lambda path: path.write_text("null"),
    "a flipped bit": flip,
    "gone": lambda path: path.unlink(),
}


def a_new_process():
    """Forget what this process has checked."""
    cache._checked.clear()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache of its own for the tests of this file, with the base whose tokenizer `model=tiny` takes."""
    quiet_libraries()
    folder = tmp_path_factory.mktemp("home")
    taken = build(compose("train", ["model=tiny"]).model).weights.tokenizer.folder()
    try:
        shutil.copytree(taken, folder / "models" / taken.name, copy_function=os.link)
    except OSError:  # another disk
        shutil.copytree(taken, folder / "models" / taken.name, dirs_exist_ok=True)
    return folder


@pytest.fixture
def tiny(home, monkeypatch):
    monkeypatch.setenv("HAFS_CACHE", str(home))
    a_new_process()
    return build(compose("train", ["model=tiny"]).model)


@pytest.mark.parametrize(
    "name, damage",
    [
        *(("model.safetensors", damage) for damage in DAMAGES),
        *(("MANIFEST.json", damage) for damage in ("empty", "null", "gone")),
        ("config.json", "a flipped bit"),
        ("tokenizer.json", "gone"),
    ],
)
def test_a_damaged_base_is_noticed_and_prepared_again(tiny, name, damage, capfd):
    folder = tiny.weights.folder()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    DAMAGES[damage](folder / name)
    a_new_process()
    capfd.readouterr()
    assert tiny.weights.folder() == folder
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and "is damaged" in said[0] and "preparing it again" in said[0]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    a_new_process()
    tiny.weights.folder()
    assert not capfd.readouterr().err


def test_a_truncated_cached_base_is_rebuilt_and_the_run_trains_on_it(tiny, here, capfd):
    write_rows(here / "rows.jsonl")
    weights = tiny.weights.folder() / "model.safetensors"
    whole = weights_sha256(tiny)
    os.truncate(weights, 100)
    a_new_process()
    tiny_runs.run("stage=warmup")
    assert "preparing it again" in capfd.readouterr().err
    assert json.loads((here / "outputs/run/run.json").read_text())["base"] == whole


def test_an_intact_base_is_read_through_once_per_process(tiny, monkeypatch):
    tiny.weights.folder()
    read = []
    monkeypatch.setattr(durable, "verify", lambda folder: read.append(folder) or {})
    for _ in range(3):
        tiny.weights.folder()
    a_new_process()
    for _ in range(3):
        tiny.weights.folder()
    assert len(read) == 1


def test_a_killed_preparation_leaves_nothing_behind_once_the_next_one_is_done(tmp_path):
    for name in (".draft-base-123", ".doomed-base-9"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(10))
    (tmp_path / ".draft-other-123").mkdir()  # somebody else's, perhaps at work
    prepared(tmp_path / "base", label="a base", make=lambda folder: (folder / "config.json").write_text("{}"))
    assert {path.name for path in tmp_path.iterdir()} == {"base", "base.lock", ".draft-other-123"}


PLACES = ("begun", "written", "synced", "listed", "sealed", "renamed", "done")


@pytest.mark.parametrize("place", [*(f"commit.{place}" for place in PLACES), "remove.renamed"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_preparation_that_is_killed_anywhere_leaves_nothing_behind_for_long(tmp_path, place, damaged):
    target = tmp_path / "base"

    def prepare():
        return prepared(target, label="a base", make=lambda folder: (folder / "config.json").write_text("{}"))

    if damaged:
        (prepare() / "config.json").write_text("null")
    child = os.fork()
    if child == 0:
        a_new_process()
        failpoints.arm(f"{place}:kill")
        prepare()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or (place == "remove.renamed" and not damaged)
    a_new_process()
    assert (prepare() / "config.json").read_text() == "{}"
    assert {path.name for path in tmp_path.iterdir()} == {"base", "base.lock"}


def test_a_full_disk_is_said_in_one_line(tmp_path):
    def make(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(HafsError, match=r"a base cannot be prepared .*: No space left on device"):
        prepared(tmp_path / "base", label="a base", make=make)


@pytest.mark.parametrize(
    "what, damage",
    [("file", "100 bytes"), ("file", "a flipped bit"), ("file", "gone"), ("note", "null"), ("note", "gone")],
)
def test_a_damaged_gguf_file_is_written_again(tiny, what, damage, capfd):
    from hafs.modeling.gguf import cache as files

    path = base_file(tiny.weights.folder(), "bf16")
    before = path.read_bytes()
    DAMAGES[damage](path if what == "file" else path.with_name(f"{path.name}.json"))
    files._checked.clear()
    capfd.readouterr()
    assert base_file(tiny.weights.folder(), "bf16") == path
    assert ("is damaged" in capfd.readouterr().err) == (what == "note" or damage != "gone")
    assert path.read_bytes() == before


def test_the_recorded_hash_is_of_the_bytes_that_are_loaded_even_from_a_folder_of_the_user(tiny, here):
    own = here / "own"
    own.mkdir()
    for path in tiny.weights.folder().iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    words = [
        "model.weights._target_=hafs.modeling.base_model.hub",
        "+model.weights.repo=own",
        "+model.weights.revision=main",
    ]
    gone = ["tokenizer", "architecture", "hidden_size", "layers", "heads", "seed"]
    model = build(compose("train", ["model=tiny", *words, *(f"~model.weights.{key}" for key in gone)]).model)
    assert weights_sha256(model) == weights_sha256(tiny)
    flip(own / "model.safetensors", place=-1)
    assert weights_sha256(model) != weights_sha256(tiny)
    assert base_sha256(own) != base_sha256(tiny.weights.folder())


def test_a_file_of_the_hubs_cache_is_refused_when_its_bytes_are_not_those_of_its_name(tiny, tmp_path):
    data = (tiny.weights.folder() / "model.safetensors").read_bytes()
    blob = tmp_path / "blobs" / hashlib.sha256(data).hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(data)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.safetensors").symlink_to(blob)
    (snapshot / "config.json").write_text("{}")
    before = base_sha256(snapshot)
    assert base_sha256(snapshot) == before
    flip(blob, place=-1)
    with pytest.raises(HafsError, match="is damaged"):
        base_sha256(snapshot)


def test_a_run_goes_on_only_on_the_base_that_it_began_on(tiny, here, capfd):
    write_rows(here / "rows.jsonl")
    tiny_runs.run("stage=warmup")
    recorded = json.loads((here / "outputs/run/run.json").read_text())
    recorded.pop("sha256")
    records.write_record(here / "outputs/run/run.json", recorded | {"base": "0" * 64})
    with pytest.raises(HafsError, match=r"the base of .*outputs/run has changed"):
        tiny_runs.run("stage=warmup,main")
    from hafs.evaluation.subject import SwitchableModel, open_run

    with pytest.raises(HafsError, match=r"the base of .*outputs/run has changed"):
        SwitchableModel(open_run(here / "outputs/run"))


@pytest.mark.long
def test_the_check_of_the_small_model_takes_less_than_a_third_of_a_second():
    model = build(compose("train", ["model=smollm2_135m"]).model)
    model.weights.folder()
    a_new_process()
    began = time.perf_counter()
    model.weights.folder()
    assert time.perf_counter() - began < 0.3
    assert load_file(model.weights.folder() / "model.safetensors")
    model.load(quant=bitsandbytes(name="none", bits=None, type=None, double=None), dtype=torch.bfloat16, device="cpu")
