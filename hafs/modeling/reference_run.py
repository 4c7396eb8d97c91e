"""Run a loaded model as transformers does, and restore its state afterwards.

The guard needs the same weights (quantized or not) with the attention of transformers, with sliding windows of a few
tokens, so that a short sample exceeds them, and without dropout.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from hafs.modeling.gpu_kernels import without_gpu_kernels

SMALL_WINDOW = 6
_WINDOWS = re.compile(r"(\w*sliding_window(_size)?|(attention_)?window_size|attention_chunk_size|local_attention)")


@contextmanager
def untouched(net: Any) -> Iterator[None]:
    """Run without dropout and gradients; restore training flags and the state of random numbers afterwards."""
    from bitsandbytes.nn import Linear4bit

    flags = [(module, module.training) for module in net.modules()]
    cards = {p.device for p in net.parameters() if p.device.type == "cuda"}
    devices = sorted(card.index or 0 for card in cards)
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        try:
            for module, _ in flags:
                module.training = isinstance(module, Linear4bit)  # which repacks its weights in eval mode
            yield
        finally:
            for module, training in flags:
                module.training = training


@contextmanager
def transformers_attention(net: Any, name: str) -> Iterator[None]:
    """Use the attention of transformers instead of the one registered under `name`, and its own kernels."""
    changed = [config for config in _configs(net) if config._attn_implementation == name]
    try:
        set_attention(changed, "eager")
        with without_gpu_kernels():
            yield
    finally:
        set_attention(changed, name)


def use_transformers_attention(net: Any, name: str) -> None:
    """Use the attention of transformers instead of the one registered under `name`, permanently."""
    fused = getattr(net, "_supports_sdpa", False)
    set_attention([c for c in _configs(net) if c._attn_implementation == name], "sdpa" if fused else "eager")


def set_attention(configs: Iterable[Any], name: str) -> None:
    """Set the name of the attention in configs, without the checks of `set_attn_implementation` for hub kernels."""
    for config in configs:
        config._attn_implementation_internal = name


@contextmanager
def small_windows(net: Any) -> Iterator[bool]:
    """Shorten every sliding window and attention chunk to `SMALL_WINDOW` tokens; yields whether the model has one."""
    places = [vars(config) for config in _configs(net)] + [vars(module) for module in net.modules()]
    with ExitStack() as stack:
        found = False
        for fields in places:
            for field, value in fields.items():
                if _WINDOWS.fullmatch(field) and type(value) is int and value > SMALL_WINDOW:
                    stack.callback(fields.__setitem__, field, value)
                    fields[field], found = SMALL_WINDOW, True
        yield found


def _configs(net: Any) -> list[Any]:
    """Every config of a model and of its parts, each once."""
    waiting, found = [m.config for m in net.modules() if hasattr(getattr(m, "config", None), "model_type")], {}
    while waiting:
        config = waiting.pop()
        if id(config) not in found:
            found[id(config)] = config
            parts = (getattr(config, name, None) for name in getattr(config, "sub_configs", {}))
            waiting += [part for part in parts if part is not None and hasattr(part, "model_type")]
    return list(found.values())
