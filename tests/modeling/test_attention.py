import pytest
import torch
import torch.nn.functional as F

from hafs.modeling import causal_attention
from hafs.modeling.attention import packed_attention

LENGTHS = [5, 1, 9, 3]
BORDERS = [0, 5, 6, 15, 18]


def block_causal(q, k, v, scale):
    sample = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    mask = (sample[:, None] == sample[None]) & torch.ones(18, 18).tril().bool()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True).transpose(1, 2)


@pytest.mark.parametrize("short", [0, 4, 512])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_attention_and_its_gradients_are_those_of_a_block_causal_mask(short, groups, monkeypatch):
    monkeypatch.setattr(causal_attention, "SHORT", short)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, n, 18, 8, dtype=torch.float64).requires_grad_() for n in (6, groups, groups))
    got, _ = packed_attention(None, q, k, v, None, scaling=0.3, borders=BORDERS)
    expected = block_causal(q, k, v, 0.3)
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    for a, b in zip(
        torch.autograd.grad(got, (q, k, v), upstream),
        torch.autograd.grad(expected, (q, k, v), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_row_without_borders_is_one_sample():
    q = torch.randn(1, 2, 7, 8)
    whole, _ = packed_attention(None, q, q, q, None, scaling=0.3)
    bordered, _ = packed_attention(None, q, q, q, None, scaling=0.3, borders=[0, 7])
    assert torch.equal(whole, bordered)


@pytest.mark.parametrize("short", [0, 512])
def test_under_autocast_everything_is_attended_in_its_type_and_gradients_come_back_in_the_input_s(short, monkeypatch):
    monkeypatch.setattr(causal_attention, "SHORT", short)
    q, k = (torch.randn(1, n, 18, 8).requires_grad_() for n in (4, 2))  # the rotation leaves float32
    v = torch.randn(1, 2, 18, 8).bfloat16().requires_grad_()  # a product under autocast does not
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = packed_attention(None, q, k, v, None, scaling=0.3, borders=BORDERS)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert [x.grad.dtype for x in (q, k, v)] == [torch.float32, torch.float32, torch.bfloat16]
