"""glibc's caches of small blocks are off where hafs trains, and nowhere else; a checkpointed layer leaves no holes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import run, write_rows

from hafs.core import malloc_tuning

SCRIPT = str(Path(sys.executable).parent / "hafs")
ASK = ["--cfg", "job", "--package", "name"]
TRAIN, PLAN = ["-m", "hafs.train", *ASK], ["-m", "hafs", "plan", "--help"]
pytestmark = pytest.mark.skipif(not malloc_tuning._is_glibc(), reason="the C library is not glibc")


@pytest.fixture
def starts(tmp_path):
    """A function that runs Python and tells what each process image found in the environment."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nwith open(os.environ['SEEN'], 'a') as seen:\n"
        "    print(os.getpid(), os.environ.get('GLIBC_TUNABLES', ''), file=seen)\n"
    )
    seen = tmp_path / "seen.txt"

    def run(*words, tunables=None):
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path, "SEEN": str(seen), "CUDA_VISIBLE_DEVICES": ""}
        env.pop(malloc_tuning.TUNABLES, None)
        if tunables is not None:
            env[malloc_tuning.TUNABLES] = tunables
        seen.unlink(missing_ok=True)
        subprocess.run([sys.executable, *words], env=env, check=True, stdout=subprocess.DEVNULL)
        lines = [line.split(" ", 1) for line in seen.read_text().splitlines()]
        assert len({pid for pid, _ in lines}) == 1, "one process, whoever waits for it"
        return [said for _, said in lines]

    return run


@pytest.mark.parametrize("words", [TRAIN, [SCRIPT, "train", *ASK], ["-m", "hafs", "train", *ASK]])
def test_training_starts_again_with_them_off(starts, words):
    assert starts(*words) == ["", malloc_tuning.CACHES_OFF]


@pytest.mark.parametrize(
    "words",
    [
        PLAN,
        [SCRIPT, "plan", "--help"],
        ["-m", "hafs.train", "--help"],
        ["-c", "import hafs.train"],
        ["-c", "import hafs.train", "train"],
    ],
)
def test_nothing_else_starts_again(starts, words):
    assert starts(*words) == [""]


def test_other_tunables_stay(starts):
    said = "glibc.rtld.optional_static_tls=1024"
    assert starts(*TRAIN, tunables=said) == [said, f"{said}:{malloc_tuning.CACHES_OFF}"]


def test_tunables_of_the_environment_are_kept(starts):
    said = "glibc.malloc.arena_max=2"
    assert starts(*TRAIN, tunables=said) == [said]


@pytest.mark.parametrize("place", ["dev/nvidia0", "dev/kfd", "usr/lib/wsl/lib/libcuda.so.1"])
def test_where_a_gpu_is_visible_nothing_starts_again(tmp_path, monkeypatch, place):
    for name in malloc_tuning._HIDDEN:
        monkeypatch.delenv(name, raising=False)
    assert not malloc_tuning.gpu_is_visible(tmp_path)
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert malloc_tuning.gpu_is_visible(tmp_path)
    monkeypatch.delenv(malloc_tuning.TUNABLES, raising=False)
    monkeypatch.setattr(malloc_tuning, "gpu_is_visible", lambda: True)
    malloc_tuning.restart_without_caches()
    assert malloc_tuning.TUNABLES not in os.environ
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not malloc_tuning.gpu_is_visible(tmp_path)


CHECKPOINTED = """
import ctypes, sys, torch
from torch.utils.checkpoint import checkpoint
from hafs.core.malloc_tuning import stock_tiny_blocks

class Counts(ctypes.Structure):  # mallinfo2(3)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Counts

def holes():  # the free end of the heap left out
    return mallinfo().fordblks - mallinfo().keepcost

def layer(x):
    kept = x
    for _ in range(12):
        x = (x * x).tanh()
    return kept + x

if "stocked" in sys.argv:
    stock_tiny_blocks()
del [torch.empty(2**22)][0]  # once 16 MiB were freed, glibc keeps what is smaller in its heap
x = torch.rand(2**18, requires_grad=True)
before = holes()
for _ in range(20):
    x = checkpoint(layer, x, use_reentrant=False)
print((holes() - before) // 2**20)
"""


def test_a_stock_of_tiny_blocks_keeps_the_memory_of_a_checkpointed_layer_in_one_piece():
    env = {**os.environ, malloc_tuning.TUNABLES: malloc_tuning.CACHES_OFF, "OMP_NUM_THREADS": "1"}

    def holes(*words):
        return int(subprocess.check_output([sys.executable, "-c", CHECKPOINTED, *words], env=env, text=True))

    assert holes("stocked") < 10 < 30 < holes()  # MiB, after twenty layers that each keep 1


def test_a_training_on_a_cpu_lays_it_out(here, monkeypatch):
    stocked = []
    monkeypatch.setattr(malloc_tuning, "stock_tiny_blocks", lambda: stocked.append(True))
    write_rows(here / "rows.jsonl")
    run("stage=warmup")
    assert stocked == [True]
