"""Attention with an `AttentionRule`. Windows and chunks select keys, so a window of 512 costs 512 keys per query.

Legend: `H` query heads, `G` key-value heads, `T` queries, `S` keys, `d` head width.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F

from hafs.modeling.attention_rule import AttentionRule
from hafs.modeling.causal_attention import for_each_head

BLOCK = 256
"""Queries per matrix product, if the reach is limited or the scores are computed explicitly."""
SINK_WIDTH = 8
"""Columns that a sink adds to each head; a multiple of 8, as fused kernels require."""


def ruled(q_HTd: torch.Tensor, k_GSd: torch.Tensor, v_GSd: torch.Tensor, rule: AttentionRule) -> torch.Tensor:
    """Attention of the last `T` of a sample's `S` tokens, `[H, T, d]`; differentiable in everything.

    Args:
        q_HTd: Queries; those of tokens before them are not asked for.
        k_GSd: Keys of the whole sample.
        v_GSd: Values.
        rule: Scale, reach and all else.
    """
    past = k_GSd.shape[1] - q_HTd.shape[1]
    done = []
    for start, stop in _blocks(past, k_GSd.shape[1], rule):
        first = rule.reach.first(start)
        positions = torch.arange(first, stop, device=q_HTd.device)
        seen_TS = rule.reach.seen(positions[start - first :], positions)
        q, k, v = q_HTd[:, start - past : stop - past], k_GSd[:, first:stop], v_GSd[:, first:stop]
        if rule.by_hand:
            bias = None if rule.bias_HTS is None else rule.bias_HTS[:, start - past : stop - past, first:stop]
            done.append(_by_hand(q, k, v, seen_TS, rule, bias))
        else:
            done.append(_fused(q, k, v, seen_TS, rule))
    return done[0] if len(done) == 1 else torch.cat(done, 1)


def _blocks(start: int, stop: int, rule: AttentionRule) -> list[tuple[int, int]]:
    """Positions in blocks whose queries attend to nearly the same keys."""
    if rule.reach.covers(stop) and not rule.by_hand:
        return [(start, stop)]
    size = BLOCK
    if rule.reach.chunk is None and rule.reach.window:
        size = max(size, rule.reach.window)
    borders = set(range(start, stop, size)) | {stop}
    if rule.reach.chunk:
        borders |= set(range(-(-start // rule.reach.chunk) * rule.reach.chunk, stop, rule.reach.chunk))
    ordered = sorted(borders)
    return list(pairwise(ordered))


def _fused(q_HTd, k_GSd, v_GSd, seen_TS, rule: AttentionRule) -> torch.Tensor:
    width = v_GSd.shape[-1]
    if rule.sinks_H is not None:
        q_HTd, k_GSd, v_GSd = _with_sinks(q_HTd, k_GSd, v_GSd, rule)
        seen_TS = F.pad(seen_TS, (1, 0), value=True)
    out = F.scaled_dot_product_attention(
        q_HTd[None], for_each_head(k_GSd, q_HTd)[None], for_each_head(v_GSd, q_HTd)[None],
        attn_mask=seen_TS, scale=rule.scale, dropout_p=rule.dropout,
    )  # fmt: skip
    return out[0][..., :width]


def _with_sinks(q_HTd, k_GSd, v_GSd, rule: AttentionRule):
    """Add a first key with value zero; its score with every query of a head is the head's sink."""
    assert rule.sinks_H is not None
    k, v = for_each_head(k_GSd, q_HTd), for_each_head(v_GSd, q_HTd)
    one = torch.zeros(SINK_WIDTH, dtype=q_HTd.dtype, device=q_HTd.device)
    one[0] = 1
    q = torch.cat([q_HTd, one.expand(len(q_HTd), q_HTd.shape[1], SINK_WIDTH)], -1)
    sink_H1d = F.pad((rule.sinks_H / rule.scale).to(k.dtype)[:, None, None], (k.shape[-1], SINK_WIDTH - 1))
    k = torch.cat([sink_H1d, F.pad(k, (0, SINK_WIDTH))], 1)
    v = F.pad(v, (0, k.shape[-1] - v.shape[-1], 1, 0))
    return q, k, v


def _by_hand(q_HTd, k_GSd, v_GSd, seen_TS, rule: AttentionRule, bias_HTS: torch.Tensor | None) -> torch.Tensor:
    k, v = for_each_head(k_GSd, q_HTd), for_each_head(v_GSd, q_HTd)
    scores_HTS = torch.bmm(q_HTd, k.transpose(1, 2)).float() * rule.scale
    if rule.softcap is not None:
        scores_HTS = torch.tanh(scores_HTS / rule.softcap) * rule.softcap
    if bias_HTS is not None:
        scores_HTS = scores_HTS + bias_HTS.float()
    scores_HTS = scores_HTS.masked_fill(~seen_TS, float("-inf"))
    if rule.sinks_H is not None:
        sinks = rule.sinks_H.float()[:, None, None].expand(-1, scores_HTS.shape[1], 1)
        weights_HTS = torch.softmax(torch.cat([scores_HTS, sinks], -1), -1)[..., :-1]
    else:
        weights_HTS = torch.softmax(scores_HTS, -1)
    weights_HTS = F.dropout(weights_HTS, rule.dropout, training=bool(rule.dropout))
    return torch.bmm(weights_HTS.to(v.dtype), v)
