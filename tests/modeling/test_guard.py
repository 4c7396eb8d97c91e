import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hafs.core.errors import USER_CAN_FIX, HafsError
from hafs.modeling import guard, model_parts
from hafs.modeling.attention import NAME
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.guard import UnsupportedModel
from hafs.modeling.quantization import Quant

SIZES = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "pad_token_id": 0,
}  # fmt: skip
WINDOW = {"sliding_window": 64}
PACKED = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": WINDOW,
    "phi": {},
    "gemma2": WINDOW | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gemma3_text": WINDOW | {"sliding_window_pattern": 2},
    "granite": {"logits_scaling": 4.0, "attention_multiplier": 0.3, "embedding_multiplier": 3.0},
    "cohere": {"logit_scale": 0.25},
    "gpt_oss": WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2, "experts_per_token": 2},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 256},
}
ALONE = {
    "stablelm": {},
    "nemotron": {},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * 2, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8,
        "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 16, "logits_scaling": 2.0,
    },
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
}  # fmt: skip


def small(kind, **fields):
    """A tiny network with weights at which attention matters."""
    config = AutoConfig.for_model(kind, **(SIZES | fields))
    torch.manual_seed(0)
    net = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if not any(word in name for word in ("A_log", "dt_bias", "conv")):
                parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim == 1 else 0.25))
    return net


def loaded(net, folder, bits=None):
    net.save_pretrained(folder)
    model = Model(name="t", weights=Hub(repo=str(folder), revision="main"), gradient_checkpointing=False, template=None,
                  embedding_on_cpu=False)  # fmt: skip
    quant = Quant(name="q", bits=bits, type="nf4" if bits == 4 else None, double=False)
    return model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize("kind", PACKED)
def test_these_types_are_right_in_packed_sequences_and_in_the_cache(kind, tmp_path):
    net = loaded(small(kind, **PACKED[kind]), tmp_path)
    assert model_parts.run_mode(net) == model_parts.RunMode()


@pytest.mark.parametrize("kind", ALONE)
def test_these_are_right_with_a_pass_for_each_sample(kind, tmp_path):
    net = loaded(small(kind, **ALONE[kind]), tmp_path)
    mode = model_parts.run_mode(net)
    assert not mode.packs
    assert "each sample has a forward pass of its own" in mode.costs


def test_a_four_bit_base_is_compared_over_the_same_weights(tmp_path):
    net = loaded(small("llama", hidden_size=64, intermediate_size=128), tmp_path, bits=4)
    assert model_parts.run_mode(net) == model_parts.RunMode()


def test_what_hafs_computes_otherwise_is_refused_with_its_type_and_the_place(tmp_path, monkeypatch):
    real = guard.model_parts.head
    monkeypatch.setattr(guard.model_parts, "head", lambda net: real(net).__class__(weight_VD=real(net).weight_VD))
    with pytest.raises(HafsError, match=r"'granite' are not supported \(head\): the logits differ") as refused:
        loaded(small("granite", logits_scaling=4.0), tmp_path)
    assert refused.value.exit_code == USER_CAN_FIX
    assert len(str(refused.value).splitlines()) == 2


def test_a_model_that_sees_the_future_is_refused(tmp_path):
    with pytest.raises(UnsupportedModel, match="'bert'"):
        loaded(small("bert"), tmp_path)


@pytest.mark.parametrize("swallowed", ["sliding_window", "softcap", "s_aux"])
def test_an_attention_that_swallows_a_keyword_is_caught(swallowed, tmp_path, monkeypatch):
    from transformers import AttentionInterface

    from hafs.modeling.attention import packed_attention

    kind = {"sliding_window": "mistral", "softcap": "gemma2", "s_aux": "gpt_oss"}[swallowed]

    def deaf(module, q, k, v, mask, **more):
        more.pop(swallowed, None)
        return packed_attention(module, q, k, v, None if swallowed == "sliding_window" else mask, **more)

    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, deaf)
    net = loaded(small(kind, **PACKED[kind]), tmp_path)
    assert model_parts.run_mode(net).attention == "own"  # transformers' own attention is right


def test_the_guard_leaves_no_trace(tmp_path):
    net = small("mistral", sliding_window=64)
    net.set_attn_implementation(NAME)
    net.model.layers[1].eval()
    net.train()
    net.model.layers[0].eval()
    config, flags = net.config.to_dict(), [module.training for module in net.modules()]
    state = torch.random.get_rng_state()
    fields = [vars(module).copy() for module in net.modules()]
    guard.guard(net)
    assert net.config.to_dict() == config
    assert net.config._attn_implementation == NAME
    assert [module.training for module in net.modules()] == flags
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    for module, before in zip(net.modules(), fields, strict=True):
        assert {k: v for k, v in vars(module).items() if isinstance(v, int | float | str)} == {
            k: v for k, v in before.items() if isinstance(v, int | float | str)
        }
    assert torch.is_grad_enabled()
