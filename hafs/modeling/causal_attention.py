"""Causal attention of one sample, by the fastest method for its length and device.

Legend: `H` query heads, `G` key-value heads, `r` rows of a group's heads, `n` tokens of the sample, `d` head width.
"""

import torch
import torch.nn.functional as F

from hafs.modeling.kernel_limits import SHORT


class _ShortCausal(torch.autograd.Function):
    """softmax(q k^T) v for one short sample, with the probabilities kept in the input's own type."""

    @staticmethod
    def forward(ctx, q_Hnd, k_Gnd, v_Gnd, scale):
        heads, n, width = q_Hnd.shape
        groups = k_Gnd.shape[0]
        q_Grd = q_Hnd.reshape(groups, heads // groups * n, width)
        scores_Hnn = torch.bmm(q_Grd, k_Gnd.transpose(1, 2)).view(heads, n, n)
        future_nn = torch.ones(n, n, dtype=torch.bool, device=q_Hnd.device).triu_(1)
        scores_Hnn = scores_Hnn.float().mul_(scale).masked_fill_(future_nn, float("-inf"))
        weights_Grn = torch.softmax(scores_Hnn, -1).to(q_Hnd.dtype).view(groups, -1, n)
        ctx.save_for_backward(q_Grd, k_Gnd, v_Gnd, weights_Grn)
        ctx.scale = scale
        return torch.bmm(weights_Grn, v_Gnd).view(heads, n, width)

    @staticmethod
    def backward(ctx, grad_Hnd):
        q_Grd, k_Gnd, v_Gnd, weights_Grn = ctx.saved_tensors
        grad_Grd = grad_Hnd.reshape(q_Grd.shape)
        grad_v = torch.bmm(weights_Grn.transpose(1, 2), grad_Grd)
        grad_weights = torch.bmm(grad_Grd, v_Gnd.transpose(1, 2))
        grad_scores = torch._softmax_backward_data(grad_weights, weights_Grn, -1, weights_Grn.dtype).mul_(ctx.scale)
        grad_q = torch.bmm(grad_scores, k_Gnd).view(grad_Hnd.shape)
        grad_k = torch.bmm(grad_scores.transpose(1, 2), q_Grd)
        return grad_q, grad_k, grad_v, None


def one_sample(q_Hnd: torch.Tensor, k_Gnd: torch.Tensor, v_Gnd: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention of one sample, `[H, n, d]`."""
    if q_Hnd.shape[1] <= SHORT and q_Hnd.device.type == "cpu":
        return _ShortCausal.apply(q_Hnd, k_Gnd, v_Gnd, scale)
    if q_Hnd.device.type == "cpu" or flash_supports(q_Hnd):
        q, k, v = q_Hnd[None], k_Gnd[None], v_Gnd[None]
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)[0]
    q, k, v = q_Hnd[None], for_each_head(k_Gnd, q_Hnd)[None], for_each_head(v_Gnd, q_Hnd)[None]
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)[0]


def flash_supports(q_HTd: torch.Tensor) -> bool:
    """Whether FlashAttention runs on these queries. No other fused kernel of a GPU takes fewer key than query heads."""
    return (
        q_HTd.is_cuda
        and q_HTd.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(q_HTd.device) >= (8, 0)
        and q_HTd.shape[-1] <= 256
    )


def for_each_head(x_GSd: torch.Tensor, q_HTd: torch.Tensor) -> torch.Tensor:
    """Keys or values, repeated for each query head, `[H, S, d]`.

    With `enable_gqa` a GPU without FlashAttention would compute all `n * n` scores of every head in float32.
    """
    return x_GSd.repeat_interleave(q_HTd.shape[0] // x_GSd.shape[0], 0)
