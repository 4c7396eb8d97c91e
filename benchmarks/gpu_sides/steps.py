"""Sections of `gpu.py` in its own process: the card, steps on random weights, out-of-memory, waits."""

import argparse
import gc
import time
import warnings
from typing import Any

import gpu_memory
import torch

from hafs.core.cuda_allocator import under_wsl2
from hafs.modeling import out_of_memory
from hafs.modeling.base_model import quiet_libraries
from hafs.modeling.gpu_kernels import liger_kernels
from hafs.modeling.hardware import GIB, precision
from hafs.modeling.hardware.gpu_memory import limit_memory

_KEPT: dict[str, Any] = {}
"""The net of the section before: a 14B takes a while to make."""


def card(options: argparse.Namespace) -> dict[str, Any]:
    """What torch and the driver say."""
    found: dict[str, Any] = {"torch": torch.__version__, "liger": liger_kernels() is not None, "wsl2": under_wsl2()}
    if options.device == "cpu":
        return found
    free, total = torch.cuda.mem_get_info()
    torch.zeros(1, device="cuda")
    dtype, why = precision("auto", torch.device("cuda", 0))
    return found | {
        "name": torch.cuda.get_device_name(),
        "capability": torch.cuda.get_device_capability(),
        "cuda": torch.version.cuda,
        "total_gib": round(total / GIB, 2),
        "context_gib": round((total - torch.cuda.mem_get_info()[0]) / GIB, 2),
        "free_before_gib": round(free / GIB, 2),
        "allowance_gib": round((limit_memory(torch.device("cuda", 0)) or 0) / GIB, 2),
        "expandable_segments": torch.cuda.memory._snapshot()["allocator_settings"].get("expandable_segments"),
        "precision": f"{dtype}: {why}",
    }


def _net(options: argparse.Namespace) -> tuple[Any, Any]:
    """Random weights of the model's shapes, NF4, with adapter and optimizer; made once."""
    if not _KEPT:
        quiet_libraries()
        torch.manual_seed(0)
        if options.device == "cuda":
            _, total = torch.cuda.mem_get_info()
            torch.cuda.set_per_process_memory_fraction(min(1.0, options.cap * GIB / total))
        dtype = precision("auto", torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu"))
        net = gpu_memory.loaded(options.model, options, dtype.value)
        _KEPT["net"], _KEPT["optimizer"] = net, gpu_memory.adapter_optimizer(net, options.device)
    return _KEPT["net"], _KEPT["optimizer"]


def free() -> None:
    """Give the net's memory back."""
    _KEPT.clear()
    gc.collect()
    out_of_memory.free_cache()


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A line for each length: planned and reserved GiB, tokens/s of the best of a few steps."""
    net, optimizer = _net(options)
    lines: list[dict[str, Any]] = []
    for tokens in map(int, options.tokens.split(",")):
        if lines and time.monotonic() > options.until:
            break
        line: dict[str, Any] = {
            "tokens": tokens,
            "planned_gib": round(gpu_memory.planned(options.model, tokens, options), 2),
        }
        try:
            if options.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            gpu_memory.step(net, optimizer, tokens, options.device)
            line["tokens_per_second"] = round(tokens / min(_timed(net, optimizer, tokens, options) for _ in range(3)))
            if options.device == "cuda":
                line["allocated_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
                line["reserved_gib"] = round(torch.cuda.max_memory_reserved() / GIB, 2)
        except torch.OutOfMemoryError:
            line["error"] = "out of memory"
            gpu_memory._forget(optimizer)
        lines.append(line)
    return lines


def _timed(net: Any, optimizer: Any, tokens: int, options: argparse.Namespace) -> float:
    began = time.perf_counter()
    gpu_memory.step(net, optimizer, tokens, options.device)  # ends in float(), which waits for the device
    return time.perf_counter() - began


def recovery(options: argparse.Namespace) -> dict[str, Any]:
    """Out of memory in the middle of a step."""
    net, optimizer = _net(options)
    return gpu_memory.recovered(net, optimizer, int(options.tokens.split(",")[0]), options)


def syncs(options: argparse.Namespace) -> dict[str, Any]:
    """How often the host waits for the GPU in one packed sequence's forward and backward pass, and where."""
    net, _ = _net(options)
    tokens = int(options.tokens.split(",")[0])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if options.device == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            gpu_memory.loss_of(net, tokens, options.device).backward()
        finally:
            if options.device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    net.zero_grad(set_to_none=True)
    waits = [f"{w.filename.split('/site-packages/')[-1]}:{w.lineno}" for w in heard if "synchroniz" in str(w.message)]
    free()
    return {"waits": len(waits), "at": sorted(set(waits))}
