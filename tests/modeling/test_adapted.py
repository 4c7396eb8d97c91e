import pytest
import torch
from test_guard import loaded, small

from hafs.core.errors import ConfigError
from hafs.modeling.adapted import tried
from hafs.modeling.adapter import Lora
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
    tried(net)
    assert all(torch.equal(before[name], parameter) for name, parameter in net.named_parameters())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in net.modules())


def test_an_adapter_on_the_vocabulary_projection_is_refused(net):
    with pytest.raises(ConfigError, match="lm_head"):
        tried(attached(net, target_modules=["q_proj", "lm_head"]))


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
