"""What a run does on a GPU and not on a CPU, as far as it can be seen without one."""

import sys
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import events, run, write_rows

from hafs import train as command
from hafs.config import build, compose, hydra_command
from hafs.core import cuda_allocator
from hafs.core.errors import ConfigError
from hafs.modeling import hardware, out_of_memory
from hafs.modeling.hardware import GIB, gpu_memory
from hafs.planning import preflight
from hafs.training import shown_answers, stage_runner
from hafs.training.module import FineTuningModule


def test_nothing_moves_the_model_to_the_cpu_between_measuring_and_answering(here, monkeypatch):
    """Lightning moves its module there after every fit and validate: a 14B would answer in host memory."""
    write_rows(here / "rows.jsonl")
    seen = []
    answer, measure, cpu, to = (
        shown_answers.answer, stage_runner.StageRunner._measure, torch.nn.Module.cpu, torch.nn.Module.to
    )  # fmt: skip

    def noted(kind, real):
        def call(*args, **kwargs):
            if kind != "to" or isinstance(args[0], FineTuningModule):
                seen.append(kind)
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(shown_answers, "answer", noted("answers", answer))
    monkeypatch.setattr(stage_runner.StageRunner, "_measure", noted("measures", measure))
    monkeypatch.setattr(torch.nn.Module, "cpu", noted("cpu", cpu))
    monkeypatch.setattr(torch.nn.Module, "to", noted("to", to))
    run("stage=warmup", "show.prompts=1", "show.max_new_tokens=2")
    assert "cpu" not in seen
    assert seen.count("answers") == 2
    for place, what in enumerate(seen):
        if what == "answers":  # `to` is what puts it on the device, before it measures
            assert seen[:place][::-1].index("measures") < len(seen)
            assert seen[place - 2 : place] in (["measures", "to"], ["to", "measures"]), seen


@pytest.fixture
def metal(monkeypatch):
    """A Mac's torch: no CUDA, and Metal."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_macs_gpu_is_a_gpu(metal, monkeypatch):
    assert hardware.device("gpu") == hardware.device("auto") == hardware.device("mps") == torch.device("mps")
    assert hardware.device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="finds none"):
        hardware.device("cuda")
    emptied = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append(True))
    out_of_memory.free_cache()
    assert emptied == [True]


@pytest.mark.parametrize(("device", "probes"), [("cpu", False), ("mps", True), ("cuda", True)])
def test_every_gpu_is_probed_for_its_micro_batch_size(device, probes):
    module = FineTuningModule.__new__(FineTuningModule)
    torch.nn.Module.__init__(module)
    module._device = torch.device(device, 0) if device == "cuda" else torch.device(device)
    assert module.on_gpu is probes


# memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def card(monkeypatch):
    """A card of 16 GiB with 15 free, as torch would tell; collects what the process is limited to."""
    limits = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (15 * GIB, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, on: limits.append(share))
    return SimpleNamespace(device=torch.device("cuda", 0), limits=limits)


@pytest.mark.parametrize(("wsl2", "left"), [(True, 1 << 30), (False, 256 << 20)])
def test_a_process_may_take_what_is_free_minus_a_reserve(card, monkeypatch, wsl2, left):
    """Under WSL2 the driver spills into host memory instead of refusing, so the allocator must refuse."""
    monkeypatch.setattr(gpu_memory, "under_wsl2", lambda: wsl2)
    assert gpu_memory.limit_memory(card.device) == 15 * GIB - left
    assert card.limits == [pytest.approx((15 * GIB - left) / (16 * GIB))]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5 * GIB, 16 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 10 * GIB)  # loading a second time changes nothing
    assert gpu_memory.limit_memory(card.device) == 15 * GIB - left


def test_a_driver_that_does_not_report_memory_sets_no_limit(card, monkeypatch):
    def refuses(_):
        raise RuntimeError("CUDA error: operation not supported")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuses)
    assert gpu_memory.limit_memory(card.device) is None
    assert preflight._free(card.device) == (None, [])
    assert gpu_memory.limit_memory(torch.device("cpu")) is None
    assert card.limits == []


@pytest.mark.parametrize("wsl2", [True, False])
def test_device_not_ready_means_out_of_memory_under_wsl2(monkeypatch, wsl2):
    monkeypatch.setattr(out_of_memory, "under_wsl2", lambda: wsl2)
    assert out_of_memory.is_out_of_memory(RuntimeError("CUDA driver error: device not ready")) is wsl2
    assert out_of_memory.is_out_of_memory(RuntimeError("CUDA out of memory"))


def test_wsl2_is_known_by_its_kernel():
    assert cuda_allocator.under_wsl2("6.6.87.2-microsoft-standard-WSL2")
    assert not cuda_allocator.under_wsl2("6.8.0-45-generic")


def test_the_search_for_a_micro_batch_starts_at_the_plan_s_and_not_at_a_whole_step(here, monkeypatch):
    write_rows(here / "rows.jsonl")
    tried = []
    real = FineTuningModule.loss_of

    def noted(self, packed):
        tried.append(len(packed.tokens_T))
        return real(self, packed)

    monkeypatch.setattr(FineTuningModule, "loss_of", noted)
    planned = preflight.planned
    limit = 90
    monkeypatch.setattr("hafs.training.session.preflight.planned", lambda *of: with_limit(planned(*of), limit))
    run("stage=warmup", "stage.warmup.batch_size=8", "callbacks.micro_batch.probe=true")
    assert [e["micro_batch_tokens"] for e in events(here / "outputs/run", "micro_batch")] == [limit]
    assert max(tried) <= limit


def with_limit(plan, tokens):
    from dataclasses import replace

    return replace(plan, micro_batch_limit=tokens)


@pytest.fixture
def before_torch(monkeypatch, tmp_path):
    """A process that has not imported torch, on native Linux with NVIDIA's driver; returns the root of its files."""
    monkeypatch.delitem(sys.modules, "torch")
    for name in (*cuda_allocator.SETTINGS, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda_allocator.platform, "release", lambda: "6.8.0-45-generic")
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    return tmp_path


def alloc_settings(root):
    with pytest.MonkeyPatch.context() as patch:
        environment = dict(cuda_allocator.os.environ)
        patch.setattr(cuda_allocator.os, "environ", environment)
        cuda_allocator.use_expandable_segments(root)
        return {name: environment[name] for name in cuda_allocator.SETTINGS if name in environment}


def test_segments_are_expandable_on_native_linux(before_torch):
    assert alloc_settings(before_torch) == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


def test_no_other_value_is_accepted(before_torch, monkeypatch):
    monkeypatch.setattr(cuda_allocator.platform, "release", lambda: "6.6.87.2-microsoft-standard-WSL2")
    assert alloc_settings(before_torch) == {}
    monkeypatch.setattr(cuda_allocator.platform, "release", lambda: "6.8.0-45-generic")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    assert alloc_settings(before_torch) == {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF")
    (before_torch / "dev/nvidia0").rename(before_torch / "dev/kfd")  # ROCm
    assert alloc_settings(before_torch) == {}
    monkeypatch.setitem(sys.modules, "torch", torch)
    (before_torch / "dev/nvidia0").touch()
    assert alloc_settings(before_torch) == {}, "too late: torch has read them"


def test_every_command_sets_the_allocator_up_before_anything_else(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(hydra_command, "use_expandable_segments", lambda: called.append(True))
    monkeypatch.setattr(sys, "argv", ["hafs.train", "--help"])
    command.enter()
    assert called == [True]
    assert "Train an expert" in capsys.readouterr().out


def test_loading_a_model_limits_the_memory_first(monkeypatch):
    limited = []
    monkeypatch.setattr(gpu_memory, "limit_memory", limited.append)
    config = compose("train", ["model=tiny", "quant=none"])
    build(config.model).load(quant=build(config.quant), dtype=torch.float32, device=torch.device("cpu"))
    assert limited == [torch.device("cpu")]
