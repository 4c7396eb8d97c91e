"""Attention inside a packed row: every sample sees itself alone, and nothing is computed across a border.

A row is several samples end to end. transformers would build one dense block-causal mask over the row, and pay for
every pair of tokens in it; here each sample is attended to by itself (on CUDA in one variable-length flash call).

Legend: `B` batch (always 1: a row), `H` query heads, `G` key-value heads, `T` tokens, `D` head width, `n` one sample.
"""

from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from hafs.model.causal import one_sample
from hafs.model.slots import Slots

NAME = "hafs_packed"


def _flash(q_HTd: torch.Tensor, k_GTd: torch.Tensor, v_GTd: torch.Tensor, borders: list[int], scale: float) -> Any:
    from torch.nn.attention.varlen import varlen_attn

    lengths = torch.tensor(borders, dtype=torch.int32, device=q_HTd.device)
    longest = max(end - start for start, end in pairwise(borders))
    q, k, v = (x.transpose(0, 1) for x in (q_HTd, k_GTd, v_GTd))
    return varlen_attn(q, k, v, lengths, lengths, longest, longest, scale=scale, window_size=(-1, 0), enable_gqa=True)


def _flash_runs_on(q: torch.Tensor) -> bool:
    return (
        q.is_cuda
        and q.dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
    )


def _product_type(x: torch.Tensor) -> torch.dtype:
    """The type to attend in: autocast's, where it is on; the rotation of queries and keys left them in float32."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def packed_attention(
    module: torch.nn.Module,
    query_BHTd: torch.Tensor,
    key_BGTd: torch.Tensor,
    value_BGTd: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    borders: list[int] | None = None,
    slots: Slots | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sample of one row; registered with transformers under `NAME`.

    Args:
        module: The attention layer (unused; part of transformers' interface).
        query_BHTd: Queries of one row.
        key_BGTd: Keys; `G` divides `H`.
        value_BGTd: Values.
        attention_mask: Always None here: the borders say all there is to say.
        scaling: What scores are multiplied with before the softmax.
        borders: Where samples begin, then the row's length: `[0, n1, n1 + n2, ...]`. None: the row is one sample.
        slots: In generation, where earlier keys and values are kept; it then says who attends to what.

    Returns:
        The attended values, `[B, T, H, d]`, and None in place of attention weights.
    """
    if slots is not None:
        return slots.attend(int(module.layer_idx), query_BHTd, key_BGTd, value_BGTd, scaling), None  # type: ignore[arg-type]
    q, k, v = (x[0].to(_product_type(x)) for x in (query_BHTd, key_BGTd, value_BGTd))
    borders = borders or [0, q.shape[1]]
    if _flash_runs_on(q):
        return _flash(q, k, v, borders, scaling)[None], None
    spans = pairwise(borders)
    samples = [one_sample(q[:, i:j], k[:, i:j], v[:, i:j], scaling).transpose(0, 1) for i, j in spans]
    return torch.cat(samples)[None], None


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
