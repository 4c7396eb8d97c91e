"""Fused kernels for a model on an NVIDIA GPU: RMSNorm from torch, rotary positions and SwiGLU from liger-kernel.

transformers computes each of them in many small kernels, which read and write all activations again. A part is replaced
only if its class computes the plain formula, which is checked on a few numbers; `guard` then compares the model's
logits. liger-kernel is optional (`pip install 'hafs[gpu]'`). Results are those of transformers up to the rounding of 16
bits.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F

_HALF = (torch.bfloat16, torch.float16)
_FUSED = "_hafs_fused"
_IN_USE = [True]
"""A list of one, for all threads: the backward pass recomputes in its own threads."""


def use_gpu_kernels(net: torch.nn.Module) -> dict[str, int]:
    """Replace what can be replaced in a loaded model; on a CPU the replacements compute as before.

    Returns:
        How many parts were replaced, by name.
    """
    liger = liger_kernels()
    found = {"rms_norm": 0, "swiglu": 0, "rotary": 0}
    for module in net.modules():
        eps = _plain_norm(type(module))
        if eps:
            module.forward = MethodType(_norm_with(eps), module)
            found["rms_norm"] += 1
        elif liger and _plain_swiglu(type(module)) and _is_silu(getattr(module, "act_fn", None)):
            module.forward = MethodType(_swiglu_with(liger), module)
            found["swiglu"] += 1
        if liger:
            found["rotary"] += _fuse_rotary(sys.modules.get(type(module).__module__), liger)
    return found


@contextmanager
def without_gpu_kernels() -> Iterator[None]:
    """Compute as transformers does in here, in all threads."""
    before, _IN_USE[0] = _IN_USE[0], False
    try:
        yield
    finally:
        _IN_USE[0] = before


def _runs_on(*tensors: torch.Tensor) -> bool:
    return _IN_USE[0] and all(x.is_cuda and x.dtype in _HALF for x in tensors)


@cache
def liger_kernels() -> Any:
    """The kernels of liger-kernel; None where it is not installed or does not load."""
    try:
        from liger_kernel.ops import LigerRopeFunction, LigerSiLUMulFunction  # type: ignore
    except Exception:  # a triton that does not fit its torch raises anything
        return None
    return LigerRopeFunction, LigerSiLUMulFunction


# RMSNorm ------------------------------------------------------------------------------------------------------------

_EPSILONS = ("variance_epsilon", "eps")


@cache
def _plain_norm(kind: type[torch.nn.Module]) -> str | None:
    """The name of a class's epsilon, if the class is `x / rms(x) * weight`; None for all others (Gemma adds 1)."""
    if not kind.__name__.endswith("RMSNorm"):
        return None
    x = torch.linspace(-2, 3, 24).view(3, 8)
    weight = torch.linspace(0.5, 1.5, 8)
    for name in _EPSILONS:
        with suppress(Exception), torch.no_grad():
            probe = _bare(kind, weight=torch.nn.Parameter(weight), **{name: 0.1})
            if torch.allclose(probe(x), F.rms_norm(x, (8,), weight, 0.1), rtol=1e-5):
                return name
    return None


def _bare(kind: type[torch.nn.Module], **fields: Any) -> Any:
    """An object of a class with only these fields: constructors take configs of their own."""
    made = kind.__new__(kind)
    torch.nn.Module.__init__(made)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """One kernel of torch, which keeps the input and a number for each token."""
    return F.rms_norm(x, weight.shape, weight, eps)


@cache
def _norm_with(eps: str) -> Callable[..., torch.Tensor]:
    def forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        if _runs_on(hidden_states, self.weight):
            return rms_norm(hidden_states, self.weight, getattr(self, eps))
        return type(self).forward(self, hidden_states)

    return forward


# SwiGLU -------------------------------------------------------------------------------------------------------------


@cache
def _plain_swiglu(kind: type[torch.nn.Module]) -> bool:
    """Whether a class is `down(act(gate(x)) * up(x))`."""
    if not kind.__name__.endswith("MLP"):
        return False
    with suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = {name: torch.nn.Linear(4, 4, bias=False) for name in ("gate_proj", "up_proj", "down_proj")}
        x = torch.linspace(-2, 3, 12).view(3, 4)
        expected = parts["down_proj"](F.silu(parts["gate_proj"](x)) * parts["up_proj"](x))
        return torch.allclose(_bare(kind, **parts, act_fn=torch.nn.SiLU())(x), expected, rtol=1e-5)
    return False


def _is_silu(activation: Any) -> bool:
    x = torch.linspace(-4, 4, 16)
    return isinstance(activation, torch.nn.Module) and torch.allclose(activation(x), F.silu(x), rtol=1e-5)


@cache
def _swiglu_with(liger: Any) -> Callable[..., torch.Tensor]:
    _, fused = liger

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        if not _runs_on(x):
            return type(self).forward(self, x)
        return self.down_proj(fused.apply(self.gate_proj(x), self.up_proj(x)))

    return forward


# rotary positions ---------------------------------------------------------------------------------------------------


def _fuse_rotary(place: Any, liger: Any) -> int:
    """Replace the function of a modeling file, which dispatches from then on; 1 if it did not before."""
    function = getattr(place, "apply_rotary_pos_emb", None)
    if function is None or hasattr(function, _FUSED):
        return 0
    fused = _rotary_with(liger, function) if _plain_rotary(function) else function
    with suppress(AttributeError):
        setattr(fused, _FUSED, True)
    place.apply_rotary_pos_emb = fused
    return int(fused is not function)


def _plain_rotary(function: Callable[..., Any]) -> bool:
    """Whether a function rotates whole heads by halves, the same angles in both halves."""
    q, k = torch.linspace(-2, 3, 48).view(1, 2, 3, 8), torch.linspace(1, 4, 24).view(1, 1, 3, 8)
    angles = torch.linspace(0, 2, 12).view(1, 3, 4).repeat(1, 1, 2)
    with suppress(Exception):
        got = function(q, k, angles.cos(), angles.sin())
        expected = [x * angles.cos()[:, None] + _rotated(x) * angles.sin()[:, None] for x in (q, k)]
        return all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(got, expected, strict=True))
    return False


def _rotated(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


def _rotary_with(liger: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    rotate, _ = liger

    @wraps(plain)
    def apply_rotary_pos_emb(q: Any, k: Any, cos: Any, sin: Any, *more: Any, **named: Any) -> Any:
        if more or named or not _runs_on(q, k) or cos.shape[-1] != q.shape[-1] or cos.shape[0] not in (1, q.shape[0]):
            return plain(q, k, cos, sin, *more, **named)
        return rotate.apply(q, k, cos, sin)

    return apply_rotary_pos_emb
