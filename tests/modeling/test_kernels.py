import os
import subprocess
import sys
from pathlib import Path

import pytest

from hafs.core import malloc_tuning
from hafs.modeling.base_model import KERNELS

CODE = """
import os
from hafs.config import build, compose
import torch
config = compose("train", ["model=tiny", "quant=none"])
model, quant = build(config.model), build(config.quant)
model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu"))
print(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"])
"""


@pytest.mark.parametrize(
    ("typed", "held"),
    [
        ({}, ["64", "1"]),
        ({"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "512"}, ["512", "1"]),
        ({"LRU_CACHE_CAPACITY": "256"}, ["64", "256"]),
    ],
)
def test_a_model_that_is_loaded_bounds_the_kernels_that_are_kept(typed, held):
    """Without a bound a run whose rows are all of different lengths grows by 17 MB a step."""
    environment = {key: value for key, value in os.environ.items() if key not in KERNELS} | typed
    told = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split()[-2:] == held


PRODUCTS = """
import os, sys
if "bounded" in sys.argv:
    from hafs.modeling.base_model import bound_kernels
    bound_kernels()
import torch

def resident():
    with open("/proc/self/statm") as counts:
        return int(counts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

weight = torch.rand(576, 576).bfloat16()
for rows in [1024, *range(512, 712)]:
    torch.nn.functional.linear(torch.rand(rows, 576).bfloat16(), weight)
    before = resident() if rows == 1024 else before
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_products_of_ever_new_shapes_hold_little_memory():
    environment = {key: value for key, value in os.environ.items() if key not in KERNELS}
    environment |= {
        "OMP_NUM_THREADS": "1",
        malloc_tuning.TUNABLES: malloc_tuning.CACHES_OFF,
    }  # as the training command runs

    def grown(*words, **typed):
        command = [sys.executable, "-c", PRODUCTS, *words]
        return int(subprocess.check_output(command, env=environment | typed, text=True))  # MiB

    if grown() < 100:
        pytest.skip("this CPU's 16-bit products keep no kernels")
    assert grown("bounded") < 80 < grown("bounded", LRU_CACHE_CAPACITY="1024")
