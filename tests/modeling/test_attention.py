from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM, masking_utils

from hafs.modeling import causal_attention, model_parts
from hafs.modeling.attention import NAME, packed_attention

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


def test_a_sequence_without_borders_is_one_sample():
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


def test_transformers_does_not_read_positions_back_to_look_for_samples(monkeypatch):
    """It would wait for the GPU in every pass; with its own attention it still looks."""
    looked = []
    real = masking_utils.find_packed_sequence_indices
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda ids: looked.append(ids) or real(ids))
    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = AutoConfig.for_model("qwen2", num_attention_heads=2, num_key_value_heads=1, pad_token_id=0, **sizes)
    net = AutoModelForCausalLM.from_config(config, attn_implementation=NAME)
    ids, places = torch.arange(6), torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        model_parts.hidden_states(net, ids, places, [0, 3, 6])
        assert looked == []
        net.set_attn_implementation("eager")
        net.model(input_ids=ids[None], position_ids=places[None], use_cache=False)
    assert len(looked) == 1


@pytest.mark.parametrize(("capability", "dtype", "flash"), [
    ((8, 0), torch.bfloat16, True), ((12, 0), torch.float16, True), ((7, 5), torch.float16, False),
    ((8, 9), torch.float32, False),
])  # fmt: skip
def test_keys_are_repeated_where_a_gpu_has_no_flash_attention(monkeypatch, capability, dtype, flash):
    """With grouped keys CUDA would take the kernel that makes all scores of a sample, for want of another one."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    q = SimpleNamespace(is_cuda=True, dtype=dtype, device="cuda:0", shape=(4, 6, 8))
    assert causal_attention.flash_supports(q) is flash
    calls = []
    monkeypatch.setattr(causal_attention, "flash_supports", lambda _: flash)
    monkeypatch.setattr(
        causal_attention.F, "scaled_dot_product_attention", lambda q, k, v, **how: calls.append((k.shape[1], how)) or q
    )
    causal_attention.one_sample(*(torch.empty(heads, 6, 8, device="meta") for heads in (4, 2, 2)), 0.3)
    ((heads, how),) = calls
    assert (heads, how.get("enable_gqa", False)) == ((2, True) if flash else (4, False))
