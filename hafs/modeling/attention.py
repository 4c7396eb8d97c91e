"""Attention in a packed sequence: each sample attends only to itself, and nothing is computed across a border.

A packed sequence is several samples end to end. transformers would build one dense block-causal mask over it, and
compute every pair of its tokens; here each sample is computed by itself (on CUDA in one variable-length flash call).

Legend: `B` batch (always 1: a packed sequence), `H` query heads, `G` key-value heads, `T` tokens, `D` head width, `n`
one sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, masking_utils

from hafs.modeling.attention_rule import AttentionRule, Reach, UnknownAttention, mask_interface
from hafs.modeling.borders import Borders
from hafs.modeling.causal_attention import flash_supports, one_sample
from hafs.modeling.kv_cache import KVCache
from hafs.modeling.rule_attention import ruled

NAME = "hafs_packed"


def _flash(
    q_HTd: torch.Tensor, k_GTd: torch.Tensor, v_GTd: torch.Tensor, borders: Borders, rule: AttentionRule
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = borders.on(q_HTd.device), borders.longest
    q, k, v = (x.transpose(0, 1) for x in (q_HTd, k_GTd, v_GTd))
    reach = (-1 if rule.reach.window is None else rule.reach.window - 1, 0)
    return varlen_attn(  # type: ignore[return-value]
        q, k, v, offsets, offsets, longest, longest, scale=rule.scale, window_size=reach, enable_gqa=True
    )


def _flash_runs_on(q_HTd: torch.Tensor, v_GTd: torch.Tensor, borders: Borders, rule: AttentionRule) -> bool:
    """Whether one variable-length call is enough: it supports windows and no other rule."""
    whole = replace(rule, reach=rule.reach._replace(window=None))
    return flash_supports(q_HTd) and q_HTd.shape[-1] == v_GTd.shape[-1] and whole.plain(borders.longest)


def _product_type(x: torch.Tensor) -> torch.dtype:
    """The type of the products: autocast's, if it is on; the rotation leaves queries and keys in float32."""
    kind = x.device.type
    known = torch.amp.is_autocast_available(kind)
    return torch.get_autocast_dtype(kind) if known and torch.is_autocast_enabled(kind) else x.dtype


_SAYS_NOTHING = {
    "position_ids", "cache_position", "layer_idx", "training", "num_items_in_batch", "deterministic", "return_dict",
    "use_cache",
}  # fmt: skip
"""Keywords that change nothing in what an attention function computes here: positions are in the queries already."""


def packed_attention(
    module: torch.nn.Module,
    query_BHTd: torch.Tensor,
    key_BGTd: torch.Tensor,
    value_BGTd: torch.Tensor,
    attention_mask: Reach | None,
    *,
    scaling: float | None = None,
    borders: Sequence[int] | None = None,
    kv_cache: KVCache | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **more: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sample of a packed sequence; registered with transformers under `NAME`.

    Args:
        module: The attention layer.
        query_BHTd: Queries of one packed sequence.
        key_BGTd: Keys; `G` divides `H`.
        value_BGTd: Values.
        attention_mask: How far back a token sees, from `rule.mask_interface`; None: to its sample's beginning.
        scaling: What scores are multiplied with before the softmax.
        borders: Where samples begin, then the sequence's length: `[0, n1, n1 + n2, ...]`. None: the sequence is one
            sample.
            As `Borders` they are copied to the device once for all layers.
        kv_cache: In generation, the earlier keys and values; it then decides which tokens attend to which.
        dropout: Share of the attention weights that are dropped.
        softcap: Bound of the scores.
        s_aux: A score of each head that takes part in the softmax and has no value.
        position_bias: Added to the scores, `[1, H, T, T]`.
        sliding_window: A window for layers whose model makes no mask.
        is_causal: Only True, or nothing, is possible.
        more: Not supported; anything in it is an error.

    Returns:
        The attended values, `[B, T, H, d]`, and None in place of attention weights.

    Raises:
        UnknownAttention: The layer asks for something that is not implemented.
    """
    _refuse_more(module, attention_mask, is_causal, more)
    reach = attention_mask or Reach(window=sliding_window)
    scale = query_BHTd.shape[-1] ** -0.5 if scaling is None else scaling
    bias = None if position_bias is None else position_bias[0]
    rule = AttentionRule(scale=scale, reach=reach, softcap=softcap, sinks_H=s_aux, bias_HTS=bias, dropout=dropout)
    if kv_cache is not None:
        return kv_cache.attend(_layer(module), query_BHTd, key_BGTd, value_BGTd, rule), None
    q, k, v = (x.squeeze(0).to(_product_type(x)) for x in (query_BHTd, key_BGTd, value_BGTd))
    if k.shape[1] > q.shape[1]:  # of one row, whose earlier keys the model's own cache holds
        return ruled(q, k, v, rule).transpose(0, 1)[None], None
    found = Borders.of(borders or [0, q.shape[1]])
    if _flash_runs_on(q, v, found, rule):
        return _flash(q, k, v, found, rule)[None], None
    samples = [_of_sample(q[:, i:j], k[:, i:j], v[:, i:j], _within(rule, i, j)) for i, j in pairwise(found)]
    return torch.cat([sample.transpose(0, 1) for sample in samples])[None], None


def _of_sample(q_Hnd: torch.Tensor, k_Gnd: torch.Tensor, v_Gnd: torch.Tensor, rule: AttentionRule) -> torch.Tensor:
    if rule.plain(q_Hnd.shape[1]):
        return one_sample(q_Hnd, k_Gnd, v_Gnd, rule.scale)
    return ruled(q_Hnd, k_Gnd, v_Gnd, rule)


def _within(rule: AttentionRule, start: int, stop: int) -> AttentionRule:
    if rule.bias_HTS is None:
        return rule
    return replace(rule, bias_HTS=rule.bias_HTS[:, start:stop, start:stop])


def _refuse_more(module: torch.nn.Module, mask: object, is_causal: bool | None, more: Mapping[str, object]) -> None:
    asked = [name for name, given in more.items() if given is not None and given is not False]
    asked = [name for name in asked if name not in _SAYS_NOTHING]
    if mask is not None and not isinstance(mask, Reach):
        asked.append("a mask of its own")
    if is_causal is False or (is_causal is None and getattr(module, "is_causal", True) is False):
        asked.append("tokens that see later ones")
    if asked:
        raise UnknownAttention(
            f"{type(module).__name__} uses attention features that are not implemented: {', '.join(asked)}"
        )


def _layer(module: torch.nn.Module) -> int:
    index = getattr(module, "layer_idx", None)
    if not isinstance(index, int):
        raise UnknownAttention(f"{type(module).__name__} has no layer_idx")
    return index


def _without_packing_probe(preprocess: Callable[..., Any]) -> Callable[..., Any]:
    """Keep transformers from looking for packed samples in the positions, where the attention is hafs' own.

    It reads positions back from the device in every forward pass; `borders` and the KV cache say what it would find.
    """

    @wraps(preprocess)
    def preprocessed(config: Any, inputs: Any, mask: Any, cache: Any, positions: Any, *more: Any, **named: Any) -> Any:
        positions = None if config._attn_implementation == NAME else positions
        return preprocess(config, inputs, mask, cache, positions, *more, **named)

    return preprocessed


masking_utils._preprocess_mask_arguments = _without_packing_probe(masking_utils._preprocess_mask_arguments)
AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, mask_interface)
