import pytest
import torch
from test_guard import loaded, small

from hafs.core.errors import ConfigError
from hafs.modeling.adapter import Lora, lora
from hafs.modeling.adapter_check import check_adapter
from hafs.modeling.generation import set_for_inference
from hafs.modeling.generation.decoder import Generation, decode
from hafs.training.module import set_dropout

FIELDS = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "use_rslora": False, "use_dora": False}


def attached(net, **more):
    return Lora(name="l", config=FIELDS | {"target_modules": "all-linear"} | more).attach(net)


@pytest.fixture
def net(tmp_path):
    return loaded(small("llama"), tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"use_dora": True},
        {"modules_to_save": ["input_layernorm"]},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"]},
    ],
    ids=str,
)
def test_an_adapter_that_is_reached_is_tried_without_a_trace(net, more):
    net = attached(net, **more)
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    state = torch.random.get_rng_state()
    check_adapter(net)
    assert all(torch.equal(before[name], parameter) for name, parameter in net.named_parameters())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in net.modules())


def test_an_adapter_on_the_vocabulary_projection_is_refused(net):
    with pytest.raises(ConfigError, match="lm_head"):
        check_adapter(attached(net, target_modules=["q_proj", "lm_head"]))


@pytest.mark.parametrize("tied", [False, True])
def test_trained_token_vectors_are_trained_as_peft_trains_them_tied_to_the_projection_or_not(tied, tmp_path):
    net = attached(loaded(small("llama", tie_word_embeddings=tied), tmp_path), trainable_token_indices=[7, 14])
    check_adapter(net)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    check_adapter(net)


def test_biases_are_trained_as_peft_trains_them(tmp_path):
    net = attached(loaded(small("llama", attention_bias=True), tmp_path), bias="lora_only")
    assert any(p.requires_grad for name, p in net.named_parameters() if name.endswith("q_proj.base_layer.bias"))
    check_adapter(net)


@pytest.mark.parametrize("start", ["pissa", "olora", "loftq", "eva"])
def test_initializations_that_change_the_base_model_are_refused_before_anything_is_loaded(start):
    with pytest.raises(ConfigError, match=start):
        lora(name="l", target_modules="all-linear", init_lora_weights=start, **FIELDS)


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys")
def test_the_adapter_of_fused_experts_is_loaded_again(tmp_path):
    fields = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.0}
    net = attached(loaded(small("qwen3_moe", **fields), tmp_path / "base"), target_parameters=["experts.gate_up_proj"])
    check_adapter(net)
    adapter = Lora(name="l", config=FIELDS | {"target_modules": "all-linear"})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "lora_B" in name:
                parameter.add_(1.0)
    before = {name: parameter.clone() for name, parameter in net.named_parameters() if "lora_" in name}
    adapter.save(net, tmp_path / "saved")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "lora_" in name:
                parameter.zero_()
    adapter.load(net, tmp_path / "saved")
    assert all(torch.equal(before[name], p) for name, p in net.named_parameters() if "lora_" in name)


def test_answers_of_the_base_and_of_an_adapter_that_trains_whole_modules_do_not_mix(tmp_path):
    net = attached(loaded(small("llama"), tmp_path), modules_to_save=["lm_head", "input_layernorm"])
    prompts = [[5, 6, 7, 8], [9, 10, 11], [12, 13]]
    set_for_inference(net)
    with net.disable_adapter():
        base = [said(net, prompt, "default") for prompt in prompts]
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "modules_to_save" in name or "lora_B" in name:
                parameter.add_(torch.randn_like(parameter))
    tuned = [said(net, prompt, "default") for prompt in prompts]
    assert tuned != base
    rows = [Generation(prompt, adapter=name, limit=6) for prompt in prompts for name in (None, "default")]
    for _ in decode(net, rows, ends=()):
        pass
    assert [row.said for row in rows[0::2]] == base
    assert [row.said for row in rows[1::2]] == tuned


def said(net, prompt, adapter):
    row = Generation(prompt, adapter=adapter, limit=6)
    for _ in decode(net, [row], ends=()):
        pass
    return row.said


def test_an_adapter_can_be_put_on_some_layers_only(net):
    net = attached(net, layers_to_transform=[0, 2])
    check_adapter(net)
    layers = {name.split(".")[4] for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert layers == {"0", "2"}


def test_what_peft_refuses_is_told_in_one_line_with_what_is_possible(net):
    with pytest.raises(ConfigError) as refused:
        attached(net, layers_to_transform=[0], layers_pattern="nosuch")
    assert "\n" not in refused.value.fact


def test_measuring_drops_nothing_neither_in_layers_nor_in_attention(tmp_path):
    net = loaded(
        small("gpt2", n_embd=32, n_head=4, n_layer=2, n_positions=64, attn_pdrop=0.5, embd_pdrop=0.5), tmp_path
    )
    ids = torch.arange(20)[None]
    first, second = (net(input_ids=ids, use_cache=False).logits for _ in range(2))
    assert not torch.equal(first, second)
    set_dropout(net, training=False)
    first, second = (net(input_ids=ids, use_cache=False).logits for _ in range(2))
    assert torch.equal(first, second)
    set_dropout(net, training=True)
    assert all(module.training for module in net.modules())
