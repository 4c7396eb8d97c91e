"""The script for the day when a GPU is at hand goes through all of its sections on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def found(tmp_path, *words):
    out = tmp_path / "gpu.json"
    command = [sys.executable, SCRIPT, "--device", "cpu", "--model", "tiny", "--trained", "tiny", "--out", str(out)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    sections = json.loads(out.read_text())
    assert not [name for name, each in sections.items() if "error" in each]
    return {name: each["found"] for name, each in sections.items()}


def test_its_steps_run_on_a_cpu(tmp_path):
    got = found(tmp_path, "--tokens", "128,256", "--only", "card,memory,recovery,syncs")
    assert [line["tokens"] for line in got["memory"]] == [128, 256]
    assert all(line["tokens_per_second"] > 0 and line["planned_gib"] > 0 for line in got["memory"])
    assert got["recovery"]["halved_to"][-1] == 2 * 128
    assert got["syncs"]["waits"] == 0
    assert got["card"]["torch"]


def test_an_unknown_section_is_refused_with_the_known_ones(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--only", "memry"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there are card, memory" in done.stderr


@pytest.mark.long
def test_its_trainings_run_on_a_cpu(tmp_path):
    got = found(tmp_path, "--tokens", "128")
    assert got["stages"]["losses"]["main"] < got["stages"]["losses"]["base"]
    assert got["stages"]["answers"] > 0
    assert got["stages"]["seconds_from_measurement_to_answer"]
    assert got["resume"]["killed_with"] == -9
    assert got["resume"]["resumed_at"] == [2]
    assert got["resume"]["largest_difference_of_a_loss"] == 0.0
    assert got["peers"]["hafs"]["tokens_per_second"] > 0
