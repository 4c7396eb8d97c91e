import os
import subprocess
import sys

import pytest

from hafs.model import KERNELS

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
