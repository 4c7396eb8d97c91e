from itertools import pairwise

import pytest
import torch
from transformers import MistralConfig
from transformers.masking_utils import create_causal_mask, create_chunked_causal_mask, create_sliding_window_causal_mask

from hafs.modeling import rule_attention as ruled_module
from hafs.modeling.attention import NAME, packed_attention
from hafs.modeling.attention_rule import Reach, UnknownAttention
from hafs.modeling.kv_cache import KVCache

BORDERS = [0, 5, 6, 35, 38]


class Layer:
    layer_idx = 0


def expected(q, k, v, scale, seen, softcap=None, sinks=None, bias=None):
    """Attention in its plainest form, one matrix of scores."""
    k, v = (x.repeat_interleave(q.shape[0] // x.shape[0], 0) for x in (k, v))
    scores = q @ k.mT * scale
    scores = scores if softcap is None else torch.tanh(scores / softcap) * softcap
    scores = scores if bias is None else scores + bias
    scores = scores.masked_fill(~seen, float("-inf"))
    if sinks is None:
        return torch.softmax(scores, -1) @ v
    return torch.softmax(torch.cat([scores, sinks[:, None, None].expand(-1, len(seen), 1)], -1), -1)[..., :-1] @ v


def seen_by(reach, count):
    query, key = torch.arange(count)[:, None], torch.arange(count)[None]
    seen = key <= query
    if reach.window:
        seen &= query - key < reach.window
    return seen & (query // reach.chunk == key // reach.chunk) if reach.chunk else seen


REACHES = [Reach(), Reach(window=4), Reach(window=40), Reach(chunk=8), Reach(window=6, chunk=16)]


@pytest.mark.parametrize("reach", REACHES, ids=str)
@pytest.mark.parametrize("more", [{}, {"softcap": 1.5}, {"s_aux": True}, {"position_bias": True}], ids=str)
@pytest.mark.parametrize("block", [4, 256])
def test_every_rule_is_the_plain_formula_in_value_and_gradient(reach, more, block, monkeypatch):
    monkeypatch.setattr(ruled_module, "BLOCK", block)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, n, 38, 16, dtype=torch.float64).requires_grad_() for n in (4, 2, 2))
    leaves, more = [q, k, v], dict(more)
    if more.get("s_aux"):
        more["s_aux"] = torch.randn(4, dtype=torch.float64).requires_grad_()
        leaves.append(more["s_aux"])
    if more.get("position_bias"):
        more["position_bias"] = torch.randn(1, 4, 38, 38, dtype=torch.float64).requires_grad_()
        leaves.append(more["position_bias"])
    got, _ = packed_attention(Layer(), q, k, v, reach, scaling=0.3, borders=BORDERS, **more)
    bias = more.get("position_bias")
    parts = [
        expected(q[0, :, i:j], k[0, :, i:j], v[0, :, i:j], 0.3, seen_by(reach, j - i), more.get("softcap"),
                 more.get("s_aux"), None if bias is None else bias[0, :, i:j, i:j])
        for i, j in pairwise(BORDERS)
    ]  # fmt: skip
    wanted = torch.cat(parts, 1).transpose(0, 1)[None]
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(wanted)
    for a, b in zip(
        torch.autograd.grad(got, leaves, upstream), torch.autograd.grad(wanted, leaves, upstream), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reach", REACHES, ids=str)
@pytest.mark.parametrize("more", [{}, {"softcap": 1.5}, {"s_aux": True}], ids=str)
def test_a_cache_of_rows_of_any_length_gives_what_a_whole_pass_gives(reach, more):
    torch.manual_seed(0)
    lengths, steps = [11, 3, 70], 7
    more = {"s_aux": torch.randn(4)} if more.get("s_aux") else more
    whole = [[torch.randn(1, heads, n + steps, 16) for heads in (4, 2, 2)] for n in lengths]
    wanted = [packed_attention(Layer(), *row, reach, scaling=0.3, **more)[0][0] for row in whole]
    kv_cache = KVCache()
    kv_cache.begin_packed([(kv_cache.open(), n) for n in lengths])
    prompts = [torch.cat([row[i][:, :, :n] for row, n in zip(whole, lengths, strict=True)], 2) for i in range(3)]
    got, _ = packed_attention(Layer(), *prompts, reach, scaling=0.3, kv_cache=kv_cache, **more)
    for part, row, n in zip(got[0].split(lengths), wanted, lengths, strict=True):
        torch.testing.assert_close(part, row[:n], rtol=1e-4, atol=1e-5)
    for step in range(steps):
        kv_cache.begin_step(torch.device("cpu"))
        now = [
            torch.cat([row[i][:, :, n + step, None] for row, n in zip(whole, lengths, strict=True)]) for i in range(3)
        ]
        got, _ = packed_attention(Layer(), *now, reach, scaling=0.3, kv_cache=kv_cache, **more)
        for part, row, n in zip(got, wanted, lengths, strict=True):
            torch.testing.assert_close(part[0], row[n + step], rtol=1e-4, atol=1e-5)


def test_attention_weights_are_dropped_as_often_as_asked():
    q, v = torch.zeros(1, 1, 400, 8), torch.ones(1, 1, 400, 8)
    got, _ = packed_attention(Layer(), q, q, v, None, scaling=1.0, dropout=0.25)
    assert got.std() > 0.01
    assert got.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("more", [{"softpick": 2.0}, {"is_causal": False}, {"cu_seq_lens_q": torch.tensor([0, 4])}])
def test_features_that_are_not_implemented_are_rejected_by_name(more):
    x = torch.randn(1, 2, 4, 8)
    with pytest.raises(UnknownAttention, match=next(iter(more)) if "is_causal" not in more else "later"):
        packed_attention(Layer(), x, x, x, None, scaling=0.3, **more)
    with pytest.raises(UnknownAttention, match="mask"):
        packed_attention(Layer(), x, x, x, torch.zeros(4, 4), scaling=0.3)
    packed_attention(Layer(), x, x, x, None, scaling=0.3, softpick=None, output_attentions=False)


def test_masks_of_transformers_are_read_and_never_made():
    config = MistralConfig(sliding_window=7, attn_implementation=NAME)
    config.attention_chunk_size = 16
    positions = torch.tensor([[0, 1, 2, 0, 1]])
    given = {"config": config, "inputs_embeds": torch.zeros(1, 5, 8), "attention_mask": None, "past_key_values": None}
    for packed in ({}, {"position_ids": positions}):
        assert create_causal_mask(**given, **packed) is None
        assert create_sliding_window_causal_mask(**given, **packed) == Reach(window=7)
        assert create_chunked_causal_mask(**given, **packed) == Reach(chunk=16)
    with pytest.raises(UnknownAttention, match="not implemented"):
        create_causal_mask(**given, or_mask_function=lambda *_: True)


def test_a_window_costs_what_it_is_wide(monkeypatch):
    asked = []
    real = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention",
        lambda q, k, v, **more: asked.append(q.shape[-2] * k.shape[-2]) or real(q, k, v, **more),
    )  # fmt: skip
    x = torch.randn(1, 1, 4096, 8)
    packed_attention(Layer(), x, x, x, Reach(window=512), scaling=0.3)
    assert sum(asked) <= 4096 * 1024
