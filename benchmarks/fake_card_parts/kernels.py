"""Stand-ins for fused kernels that a CPU build of torch has not: one operation each, with the tensors that it keeps."""

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from hafs.modeling import causal_attention, gpu_kernels


@torch.library.custom_op("fake_card::fused", mutates_args=())
def fused(read: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """A kernel that reads tensors and writes one like the second argument."""
    return torch.empty_like(like)


@fused.register_fake
def _(read: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(like)


@torch.library.custom_op("fake_card::fused_", mutates_args=("changed",))
def fused_(changed: list[torch.Tensor], read: list[torch.Tensor]) -> None:
    """A kernel that reads tensors and changes others in place."""


@fused_.register_fake
def _(changed: list[torch.Tensor], read: list[torch.Tensor]) -> None:
    return None


class RmsNorm(torch.autograd.Function):
    """torch's `_fused_rms_norm`: keeps the input and a float32 for each token."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """Write what is computed."""
        ctx.save_for_backward(x, weight, torch.empty(x.shape[:-1], device=x.device))
        return fused([weight], x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Write the gradients."""
        x, weight, scales = ctx.saved_tensors
        return fused([grad, weight, scales], x), None, None


class SwiGlu(torch.autograd.Function):
    """liger-kernel's: its gradients overwrite the inputs that it kept."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Write what is computed."""
        ctx.save_for_backward(gate, up)
        return fused([gate], up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Write the gradients."""
        gate, up = (x.detach() for x in ctx.saved_tensors)
        fused_([gate, up], [grad])
        return gate, up


class Rotary(torch.autograd.Function):
    """liger-kernel's: in place, for queries and keys together."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> Any:
        """Write what is computed."""
        ctx.save_for_backward(cos, sin)
        q, k = (x.detach().transpose(1, 2).contiguous() for x in (q, k))
        fused_([q, k], [cos, sin])
        return q.transpose(1, 2), k.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, dq: torch.Tensor, dk: torch.Tensor) -> Any:
        """Write the gradients."""
        dq, dk = (x.detach().transpose(1, 2).contiguous() for x in (dq, dk))
        fused_([dq, dk], list(ctx.saved_tensors))
        return dq.transpose(1, 2), dk.transpose(1, 2), None, None


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **how: Any) -> torch.Tensor:
    """The choice that CUDA makes for a causal sample without FlashAttention: groups need the math kernel."""
    if how.get("enable_gqa") or how.get("attn_mask") is not None:
        return F.scaled_dot_product_attention(q, k, v, **how)
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        q, k, v, None, True, 0.0, how["is_causal"], scale=how["scale"]
    )[0]


def stand_in(*, fuse: bool, liger: bool) -> None:
    """Let `use_gpu_kernels` find the stand-ins, or nothing to fuse."""
    gpu_kernels.rms_norm = RmsNorm.apply
    gpu_kernels.liger_kernels = lambda: (Rotary, SwiGlu) if liger else None
    gpu_kernels._IN_USE[0] = fuse
    causal_attention.F = SimpleNamespace(scaled_dot_product_attention=attention)
