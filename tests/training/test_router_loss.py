import pytest
import torch

from hafs.config import check, compose
from hafs.core.errors import ConfigError
from hafs.modeling import model_parts
from hafs.modeling.adapter import Lora
from hafs.modeling.loss import token_loss
from hafs.train import Settings
from hafs.training.router_loss import RouterLoss

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
         "vocab_size": 120, "num_experts_per_tok": 2}  # fmt: skip
KINDS = {
    "qwen3_moe": {"intermediate_size": 48, "moe_intermediate_size": 16, "num_experts": 8},
    "gpt_oss": {"intermediate_size": 16, "num_local_experts": 4},
    "mixtral": {"intermediate_size": 16, "num_local_experts": 4},
}
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear", "use_rslora": False,
        "use_dora": False}  # fmt: skip
IDS = torch.arange(40) * 7 % 120


def made(kind, **more):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES, **KINDS[kind], **more)).train()


def ours(net, weight):
    """The gradients of one sample, its loss a mean, as a step takes them."""
    with RouterLoss(net, weight).watching() as balance:
        hidden_TD = model_parts.hidden_states(net, IDS, torch.arange(40), [0, 40])
        nats = token_loss(hidden_TD[:-1], model_parts.head(net), IDS[1:]).nats
    ((nats + balance(39)) / 39).backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_with_the_load_balancing_loss_is_transformers_step(kind, adapted):
    net = made(kind, router_aux_loss_coef=0.5)
    net = Lora(name="l", config=LORA).attach(net) if adapted else net
    got, without = ours(net, 0.5), {}
    net.zero_grad()
    without = ours(net, None)
    net.zero_grad()
    labels = IDS[None]
    base = model_parts.base_of(net)
    base(input_ids=IDS[None], labels=labels, output_router_logits=True, use_cache=False).loss.backward()
    expected = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-6, rtol=1e-3, msg=name)
    assert any(not torch.allclose(got[name], without[name], rtol=1e-2) for name in got)


def test_a_model_without_experts_is_refused_and_the_option_is_checked():
    from transformers import LlamaConfig, LlamaForCausalLM

    net = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, vocab_size=120))
    with pytest.raises(ConfigError, match=r"router_aux_loss=0.01: transformers has no load-balancing loss .* 'llama'"):
        RouterLoss(net, 0.01)
    check(compose("train", ["router_aux_loss=0.001"]), Settings)
    with pytest.raises(ConfigError, match="router_aux_loss"):
        check(compose("train", ["router_aux_loss=-1"]), Settings)
