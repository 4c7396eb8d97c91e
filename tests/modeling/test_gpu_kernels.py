"""Fused kernels replace only what computes the plain formula, and give the same up to rounding."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from hafs.modeling import gpu_kernels
from hafs.modeling.gpu_kernels import use_gpu_kernels, without_gpu_kernels

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip


def net_of(kind):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES), dtype=torch.float32)


class Rotary(torch.autograd.Function):
    """As liger-kernel's, in torch; counts its calls."""

    calls = 0

    @staticmethod
    def forward(ctx, q, k, cos, sin):
        Rotary.calls += 1
        return tuple(x * cos[:, None] + gpu_kernels._rotated(x) * sin[:, None] for x in (q, k))


class SwiGlu(torch.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, gate, up):
        SwiGlu.calls += 1
        return F.silu(gate) * up


@pytest.fixture
def liger(monkeypatch):
    """liger-kernel is installed, and tensors count as on a GPU and in 16 bits; modeling files stay as they are."""
    Rotary.calls = SwiGlu.calls = 0
    monkeypatch.setattr(gpu_kernels, "liger_kernels", lambda: (Rotary, SwiGlu))
    monkeypatch.setattr(gpu_kernels, "_runs_on", lambda *_: gpu_kernels._IN_USE[0])
    for name, module in list(sys.modules.items()):
        if name.startswith("transformers.models.") and hasattr(module, "apply_rotary_pos_emb"):
            monkeypatch.setattr(module, "apply_rotary_pos_emb", module.apply_rotary_pos_emb)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
def test_norms_swiglu_and_rotary_positions_are_replaced_and_compute_the_same(kind, liger, monkeypatch):
    net, ids = net_of(kind), torch.arange(12)[None]
    place = sys.modules[type(net).__module__]
    monkeypatch.setattr(place, "apply_rotary_pos_emb", place.apply_rotary_pos_emb)
    with torch.no_grad():
        expected = net(input_ids=ids).logits
        found = use_gpu_kernels(net)
        norms = 2 * 2 + 1 + (4 if kind == "qwen3" else 0)
        assert found == {"rms_norm": norms, "swiglu": 2, "rotary": 1}
        torch.testing.assert_close(net(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)
        assert (Rotary.calls, SwiGlu.calls) == (2, 2)
        with without_gpu_kernels():
            assert torch.equal(net(input_ids=ids).logits, expected)
        assert (Rotary.calls, SwiGlu.calls) == (2, 2)
        assert use_gpu_kernels(net)["rotary"] == 0, "a modeling file is changed once"


@pytest.mark.parametrize("kind", ["gemma", "gemma2", "gemma3_text", "olmo2", "phi", "gpt_neox", "cohere"])
def test_another_formula_is_left_alone(kind, liger, monkeypatch):
    """Gemma's norm adds 1 to its weight and its MLP is no SwiGLU; Phi and NeoX have LayerNorm and rotate a part."""
    net, ids = net_of(kind), torch.arange(12)[None]
    place = sys.modules[type(net).__module__]
    if hasattr(place, "apply_rotary_pos_emb"):
        monkeypatch.setattr(place, "apply_rotary_pos_emb", place.apply_rotary_pos_emb)
    with torch.no_grad():
        expected = net(input_ids=ids).logits
        found = use_gpu_kernels(net)
        torch.testing.assert_close(net(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)
    if kind.startswith("gemma"):
        assert found["rms_norm"] == found["swiglu"] == 0


def test_on_a_cpu_nothing_changes_by_a_bit():
    net, ids = net_of("llama").bfloat16(), torch.arange(12)[None]
    with torch.no_grad():
        expected = net(input_ids=ids).logits
        assert use_gpu_kernels(net)["rms_norm"] == 5
        assert torch.equal(net(input_ids=ids).logits, expected)


def test_torchs_norm_is_that_of_transformers_within_the_rounding_of_bf16():
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

    torch.manual_seed(0)
    norm = Qwen2RMSNorm(512, eps=1e-6).bfloat16()
    norm.weight.data.uniform_(0.2, 3.0)
    x = (torch.randn(64, 512) * torch.logspace(-3, 3, 64)[:, None]).bfloat16()
    norm.requires_grad_(False)
    exact = F.rms_norm(x.double(), (512,), norm.weight.double(), 1e-6)
    ours, theirs = (float((y.double() - exact).abs().div(exact.abs() + 1e-3).max()) for y in
                    (gpu_kernels.rms_norm(x, norm.weight, 1e-6), norm(x)))  # fmt: skip
    assert ours <= theirs <= 2**-7


LIGER = """
import torch, torch.nn.functional as F
from hafs.modeling import gpu_kernels
rotate, fused = gpu_kernels.liger_kernels()
import liger_kernel.ops.swiglu
class Scalar(float):  # triton's interpreter hands plain floats to kernels, which call their .to()
    def to(self, _):
        return self
liger_kernel.ops.swiglu.float = Scalar
torch.manual_seed(0)
gate, up, grad = (torch.randn(6, 40) for _ in range(3))
def both(function, *inputs, grads):
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*[x * 1 for x in leaves])
    out = out if isinstance(out, tuple) else (out,)
    torch.autograd.backward(out, [g.clone() for g in grads])
    return [*(x.detach().clone() for x in out), *(x.grad for x in leaves)]
def close(name, ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        apart = float((a.double() - b.double()).norm() / b.double().norm())
        assert apart < 1e-6, (name, apart)
close("swiglu", both(fused.apply, gate, up, grads=[grad]), both(lambda g, u: F.silu(g) * u, gate, up, grads=[grad]))
q, k, gq, gk = (torch.randn(1, h, 6, 16) for h in (4, 2, 4, 2))
angles = torch.rand(1, 6, 8).repeat(1, 1, 2)
cos, sin = angles.cos(), angles.sin()
def plain(q, k):
    return tuple(x * cos[:, None] + gpu_kernels._rotated(x) * sin[:, None] for x in (q, k))
def turned(q, k):
    return rotate.apply(q, k, cos, sin)
close("rotary", both(turned, q, k, grads=[gq, gk]), both(plain, q, k, grads=[gq, gk]))
"""


@pytest.mark.skipif(gpu_kernels.liger_kernels() is None, reason="needs liger-kernel (hafs[gpu])")
def test_ligers_kernels_are_the_plain_formulas_and_their_gradients():
    """triton's interpreter runs them on a CPU; in float32, for its bf16 is not that of a GPU."""
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", LIGER], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_liger_that_does_not_load_is_treated_as_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "liger_kernel", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "liger_kernel.ops", None)
    assert gpu_kernels.liger_kernels.__wrapped__() is None
