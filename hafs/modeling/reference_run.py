"""A loaded model run as transformers would, for a moment, and everything put back as it was.

For the guard: the same weights, whatever their storage, with transformers' own attention; with windows of a few tokens,
so that a short sample is longer than they are; without dropout; and without a trace afterwards.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

SMALL_WINDOW = 6
_WINDOWS = re.compile(r"(\w*sliding_window(_size)?|(attention_)?window_size|attention_chunk_size|local_attention)")


@contextmanager
def untouched(net: Any) -> Iterator[None]:
    """Leave training flags, random numbers and gradients' mode as they are now; inside: no dropout, no gradients."""
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
    """Let transformers' attention take the place of the one registered under `name`."""
    changed = [config for config in _configs(net) if config._attn_implementation == name]
    try:
        set_attention(changed, "eager")
        yield
    finally:
        set_attention(changed, name)


def use_transformers_attention(net: Any, name: str) -> None:
    """Let transformers' attention take the place of the one registered under `name`, for good."""
    fused = getattr(net, "_supports_sdpa", False)
    set_attention([c for c in _configs(net) if c._attn_implementation == name], "sdpa" if fused else "eager")


def set_attention(configs: Iterable[Any], name: str) -> None:
    """Write an attention's name into configs, past the checks that `set_attn_implementation` makes of hub kernels."""
    for config in configs:
        config._attn_implementation_internal = name


@contextmanager
def small_windows(net: Any) -> Iterator[bool]:
    """Windows and chunks of `SMALL_WINDOW` tokens wherever there are some; yields whether there are."""
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
