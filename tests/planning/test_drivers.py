"""Drivers that do not answer as expected never end a plan or a run."""

import os
from types import SimpleNamespace

import psutil
import pytest
import torch

from hafs.modeling.hardware import GIB, detect
from hafs.planning import preflight
from hafs.training.callbacks import throughput

SMI = """#!/bin/sh
case "$1" in
  *compute_cap*) {newest} ;;
  *) {older} ;;
esac
"""


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts an `nvidia-smi` in front of the path that says what it is given."""

    def say(newest, older="exit 2"):
        program = tmp_path / "nvidia-smi"
        program.write_text(SMI.format(newest=newest, older=older))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return say


@pytest.mark.parametrize(
    ("said", "gib"),
    [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb, 4864, [N/A], 8.0", 4.75),
        ("NVIDIA RTX 5000, 16384, [Not Supported], [N/A]", 16),
        ("NVIDIA Something, 16384, 300.00, 12.1", 16),
        ("Quadro, of two words, 8192, 75.00, 6.1", None),
    ],
)
def test_a_field_that_is_not_available_is_assumed(smi, said, gib):
    smi(f"echo '{said}'")
    found = detect.detected("cuda")
    assert found.device == "cuda"
    assert found.watts > 0
    if gib:
        assert found.memory_bytes == gib * GIB


def test_an_integrated_gpu_has_the_memory_of_the_system(smi):
    smi("echo 'NVIDIA GB10, [N/A], [N/A], 12.1'")
    assert detect.detected("cuda").memory_bytes == pytest.approx(psutil.virtual_memory().total, rel=1e-6)


def test_an_old_driver_is_asked_for_less(smi):
    smi("echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2", "echo 'Tesla K80, 11441, 149.00'")
    assert (detect.detected("cuda").title, detect.detected("cuda").device) == ("Tesla K80", "cuda")


@pytest.mark.parametrize(
    "said",
    [
        "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
        "exit 9",
        "echo 'No devices were found'; exit 6",
        "kill -9 $$",
        "echo 'No devices were found'",
    ],
)
def test_a_driver_that_fails_means_no_gpu_and_no_error(smi, said):
    smi(said, said)
    assert detect.detected().device == "cpu"


def test_a_gpu_that_only_torch_knows_is_planned_with_its_memory(monkeypatch):
    """ROCm, or a container without nvidia-smi."""
    monkeypatch.setattr(detect, "_nvidia", lambda: None)
    card = SimpleNamespace(name="AMD Radeon RX 7900 XTX", total_memory=24 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    found = preflight._hardware(torch.device("cuda", 0))
    assert (found.title, found.memory_bytes, found.device) == (card.name, 24 * GIB, "cuda")
    assert found.bf16


class NVMLError(Exception):
    """As in pynvml, whose errors are neither RuntimeErrors nor OSErrors."""


@pytest.mark.parametrize(
    "error", [NVMLError("Not Supported"), ModuleNotFoundError("pynvml"), RuntimeError("no"), OSError()]
)
def test_a_utilization_that_nvml_refuses_is_left_out(monkeypatch, error):
    def refuses(_):
        raise error

    monkeypatch.setattr(torch.cuda, "utilization", refuses)
    assert throughput.utilization(torch.device("cuda", 0)) == {}
