"""The low-rank branch of a LoRA layer in the base's own precision, saving only what the base layer saved anyway.

PEFT's layers copy their input to float32, keep that copy for the backward pass and mix precisions on the way out. Here
the branch multiplies in the base's type with float32 master weights (what autocast would do), and keeps no copy.

Legend: `T` tokens, `I`/`O` width in and out, `R` rank.
"""

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import LoraLayer


class _LowRank(torch.autograd.Function):
    """`base + scale * (x A^T) B^T`, one fused multiply-add, and its gradients without a second copy of x."""

    @staticmethod
    def forward(ctx, base_TO, x_TI, a_RI, b_OR, scale):
        a, b = a_RI.to(x_TI.dtype), b_OR.to(x_TI.dtype)
        down_TR = x_TI @ a.T
        ctx.save_for_backward(x_TI, a_RI, b_OR, down_TR)
        ctx.scale = scale
        return torch.addmm(base_TO, down_TR, b.T, alpha=scale)

    @staticmethod
    def backward(ctx, grad_TO):
        x_TI, a_RI, b_OR, down_TR = ctx.saved_tensors
        grad_down_TR = grad_TO @ b_OR.to(grad_TO.dtype) * ctx.scale
        grad_x = grad_down_TR @ a_RI.to(grad_TO.dtype) if ctx.needs_input_grad[1] else None
        grad_a = (grad_down_TR.T @ x_TI).to(a_RI.dtype)
        grad_b = (grad_TO.T @ down_TR).to(b_OR.dtype) * ctx.scale
        return grad_TO, grad_x, grad_a, grad_b, None


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    name = layer.active_adapters[0] if len(layer.active_adapters) == 1 else ""
    if args or kwargs or layer.disable_adapters or layer.merged or name not in layer.lora_A:
        return type(layer).forward(layer, x, *args, **kwargs)
    base = layer.get_base_layer()(x)
    x_TI = layer.lora_dropout[name](x).flatten(0, -2)
    out_TO = _LowRank.apply(
        base.flatten(0, -2), x_TI, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    return out_TO.view(base.shape)


def _is_plain(layer: LoraLayer) -> bool:
    """Only the textbook form: no DoRA or other variant, no bias in the branch, a linear base."""
    base = layer.get_base_layer()
    linear = isinstance(base, torch.nn.Linear)
    biased = any(branch.bias is not None for branch in (*layer.lora_A.values(), *layer.lora_B.values()) if linear)
    return linear and not biased and not getattr(layer, "lora_variant", None)


def fuse(net: torch.nn.Module) -> int:
    """Give every plain LoRA layer of `net` the fused branch; the others keep PEFT's own forward.

    Returns:
        How many layers were changed.
    """
    layers = [module for module in net.modules() if isinstance(module, LoraLayer) and _is_plain(module)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)
