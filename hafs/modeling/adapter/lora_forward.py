"""The LoRA forward of a layer in the base's precision; it saves only what the base layer saves anyway.

PEFT's layers copy their input to float32, keep that copy for the backward pass and mix precisions on the way out. Here
the low-rank product is computed in the base's type with float32 master weights (what autocast would do), and keeps no
copy.

In inference several adapters serve one batch: `chosen` says which tokens take which adapter, for the passes inside it
and for this thread alone; the net's own active adapter is not touched.

Legend: `T` tokens, `I`/`O` width in and out, `R` rank.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import LoraLayer

FEW = 32
"""Up to this many tokens go through every adapter, and each takes its own: products of one row round differently."""


class Share(NamedTuple):
    """Tokens of a pass (all its sequences flattened) that use one adapter."""

    adapter: str | None
    """Its name in the net; None: the base alone."""
    tokens: slice | torch.Tensor
    """A slice, or indexes."""


_SHARES: ContextVar[Sequence[Share] | None] = ContextVar("shares", default=None)


@contextmanager
def chosen(shares: Sequence[Share] | None) -> Iterator[None]:
    """Inside the block, passes select adapters per token; None: the active adapter for all. Without gradients."""
    token = _SHARES.set(shares)
    try:
        yield
    finally:
        _SHARES.reset(token)


def shares_of(adapters: Sequence[str | None], counts: Sequence[int], device: torch.device) -> list[Share]:
    """The shares of sequences laid end to end.

    Args:
        adapters: The adapter of each sequence.
        counts: The tokens of each sequence.
        device: The device of the pass.
    """
    spans: dict[str | None, list[tuple[int, int]]] = {}
    start = 0
    for name, count in zip(adapters, counts, strict=True):
        mine = spans.setdefault(name, [])
        if mine and mine[-1][1] == start:
            mine[-1] = (mine[-1][0], start + count)
        else:
            mine.append((start, start + count))
        start += count
    return [Share(name, _where(mine, device)) for name, mine in spans.items()]


def _where(spans: Sequence[tuple[int, int]], device: torch.device) -> slice | torch.Tensor:
    if len(spans) == 1:
        return slice(*spans[0])
    return torch.cat([torch.arange(start, stop, device=device) for start, stop in spans])


class _LowRank(torch.autograd.Function):
    """`base + scale * (x A^T) B^T`, one fused multiply-add, and its gradients without a second copy of x."""

    @staticmethod
    def forward(ctx, base_TO, x_TI, a_RI, b_OR, scale, cast):
        a, b = cast or (a_RI.to(x_TI.dtype), b_OR.to(x_TI.dtype))
        down_TR = x_TI @ a.T
        ctx.save_for_backward(x_TI, *(cast or (a_RI, b_OR)), down_TR)
        ctx.scale, ctx.types = scale, (a_RI.dtype, b_OR.dtype)
        return torch.addmm(base_TO, down_TR, b.T, alpha=scale)

    @staticmethod
    def backward(ctx, grad_TO):
        x_TI, a_RI, b_OR, down_TR = ctx.saved_tensors
        grad_down_TR = grad_TO @ b_OR.to(grad_TO.dtype) * ctx.scale
        grad_x = grad_down_TR @ a_RI.to(grad_TO.dtype) if ctx.needs_input_grad[1] else None
        grad_a = (grad_down_TR.T @ x_TI).to(ctx.types[0])
        grad_b = (grad_TO.T @ down_TR).to(ctx.types[1]) * ctx.scale
        return grad_TO, grad_x, grad_a, grad_b, None, None


_CASTS = "_hafs_casts"


@contextmanager
def cast_once(net: torch.nn.Module, *, enabled: bool = True) -> Iterator[None]:
    """Inside the block, convert each adapter weight to the type of products once, not in every pass and recomputation.

    The weights must not change inside the block. The copies take two bytes per trained parameter.

    Args:
        net: With `use_lora_forward` applied.
        enabled: False: do nothing.
    """
    layers = [module for module in net.modules() if isinstance(module, LoraLayer)] if enabled else []
    for layer in layers:
        setattr(layer, _CASTS, {})
    try:
        yield
    finally:
        for layer in layers:
            setattr(layer, _CASTS, None)


def _cast(layer: Any, name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The weights of an adapter in another type, kept until `cast_once` ends; None outside of it."""
    casts = getattr(layer, _CASTS, None)
    if casts is None:
        return None
    if (name, dtype) not in casts:
        weights = layer.lora_A[name].weight, layer.lora_B[name].weight
        casts[name, dtype] = tuple(weight.detach().to(dtype) for weight in weights)
    return casts[name, dtype]


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    shares = _SHARES.get()
    if shares is not None and not args and not kwargs:
        return _shared(layer, x, shares)
    name = layer.active_adapters[0] if len(layer.active_adapters) == 1 else ""
    if args or kwargs or layer.disable_adapters or layer.merged or not is_plain(layer, name):
        return type(layer).forward(layer, x, *args, **kwargs)
    base = layer.get_base_layer()(x)
    x_TI = layer.lora_dropout[name](x).flatten(0, -2)
    weights = layer.lora_A[name].weight, layer.lora_B[name].weight
    cast = _cast(layer, name, x_TI.dtype)
    out_TO = _LowRank.apply(base.flatten(0, -2), x_TI, *weights, layer.scaling[name], cast)
    return out_TO.view(base.shape)


def _shared(layer: Any, x: torch.Tensor, shares: Sequence[Share]) -> torch.Tensor:
    """Every token through its own adapter."""
    base = layer.get_base_layer()(x)
    out_TO, x_TI = base.flatten(0, -2), x.flatten(0, -2)
    base_TO = out_TO.clone() if len(out_TO) <= FEW else None
    for name, tokens in shares:
        if name is None or name not in layer.lora_A:
            continue
        if not is_plain(layer, name):
            out_TO[tokens] = _alone(layer, x_TI[tokens], name)
            continue
        a, b = layer.lora_A[name].weight.to(x.dtype), layer.lora_B[name].weight.to(x.dtype)
        if base_TO is not None:
            out_TO[tokens] = torch.addmm(base_TO, x_TI @ a.T, b.T, alpha=layer.scaling[name])[tokens]
        else:
            out_TO[tokens] = torch.addmm(out_TO[tokens], x_TI[tokens] @ a.T, b.T, alpha=layer.scaling[name])
    return out_TO.view(base.shape)


def _alone(layer: Any, x: torch.Tensor, name: str) -> torch.Tensor:
    """PEFT's own forward of one adapter, whichever the active one is."""
    active = layer._active_adapter
    layer._active_adapter = [name]
    try:
        return type(layer).forward(layer, x)
    finally:
        layer._active_adapter = active


def is_plain(layer: Any, name: str) -> bool:
    """Only plain LoRA: no DoRA or other variant, no bias."""
    return (
        name in layer.lora_A
        and name not in (getattr(layer, "lora_variant", None) or {})
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
    )


def sharable(net: torch.nn.Module) -> bool:
    """Whether the adapters of a model can be selected per token.

    LoRA on linear layers can. Modules to save, token vectors, biases and fused experts are those of the active adapter
    for all tokens of a pass.
    """
    from peft.utils.other import AuxiliaryTrainingWrapper

    for module in net.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return False
        if isinstance(module, LoraLayer) and not isinstance(module.get_base_layer(), torch.nn.Linear):
            return False
    configs = getattr(net, "peft_config", {}).values()
    return all(getattr(config, "bias", "none") == "none" for config in configs)


def use_lora_forward(net: torch.nn.Module) -> int:
    """Give every LoRA layer of `net` over a linear layer this forward; variants keep PEFT's own forward inside it.

    Returns:
        The number of plain layers, which this forward computes.
    """
    layers: list[Any] = [
        module
        for module in net.modules()
        if isinstance(module, LoraLayer) and isinstance(module.get_base_layer(), torch.nn.Linear)
    ]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return sum(all(is_plain(layer, name) for name in layer.lora_A) for layer in layers)
