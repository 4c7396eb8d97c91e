"""The benchmark for GPUs goes through all of its steps on a CPU, so that it works where a GPU is at hand."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_memory.py"


def test_it_makes_real_steps_and_recovers_from_a_sequence_that_does_not_fit(tmp_path):
    out = tmp_path / "lines.json"
    words = ["--device", "cpu", "--models", "tiny", "--tokens", "128,256", "--out", str(out)]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *steps, last = json.loads(out.read_text())
    assert [line["tokens"] for line in steps] == [128, 256]
    assert all(line["tokens_per_second"] > 0 for line in steps)
    assert last["recovery"]["samples"] == 64
    assert last["recovery"]["halved_to"] == [4096, 2048, 1024, 512, 256]
