"""Mixtures of experts: what quantization and LoRA reach, in the net and in the plan."""

import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from hafs.config import compose
from hafs.core.errors import ConfigError
from hafs.modeling import model_parts
from hafs.modeling.adapter import Lora
from hafs.modeling.adapter_check import check_adapter
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.quantization import Quant, bitsandbytes
from hafs.planning import plan_terminal
from hafs.planning.architecture import described
from hafs.planning.memory import trained_parameters
from hafs.planning.memory.resident import weights
from hafs.planning.plan_builder import PlanBuilder

pytestmark = pytest.mark.filterwarnings("ignore")
NF4 = Quant(name="nf4", bits=4, type="nf4", double=True)
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear", "use_rslora": False,
        "use_dora": False}  # fmt: skip
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
         "vocab_size": 160, "num_experts_per_tok": 2}  # fmt: skip
KINDS = {
    "qwen3_moe": {"intermediate_size": 96, "moe_intermediate_size": 64, "num_experts": 8},
    "gpt_oss": {"intermediate_size": 64, "num_local_experts": 8},
}
IDS = torch.arange(5, 30)


@pytest.fixture(params=KINDS)
def folder(request, tmp_path, monkeypatch):
    from transformers import AutoConfig, AutoModelForCausalLM

    monkeypatch.setenv("HAFS_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **SIZES, **KINDS[request.param])
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    return tmp_path


def load(folder, quant):
    model = Model(name="t", weights=Hub(repo=str(folder), revision="main"), gradient_checkpointing=False,
                  embedding_on_cpu=False, template=None)  # fmt: skip
    return model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu"))


def trained(net):
    return {name: p.numel() for name, p in net.named_parameters() if p.requires_grad}


def logits(net):
    with torch.no_grad():
        hidden_TD = model_parts.hidden_states(net, IDS, torch.arange(25), [0, 25])
        return model_parts.head(net).logits(hidden_TD)


def setup_of(folder, **changes):
    config = compose("plan", ["model=tiny", "quant=nf4", "adapter=lora", "adapter.r=4", "hardware=rtx5060ti_16gb"])
    return replace(PlanBuilder(config).plan.asked.setup, **changes)


def test_experts_are_quantized_where_asked_and_the_model_stays_itself(folder):
    plain, small = load(folder, NF4), load(folder, replace(NF4, experts=True))
    left = [name for name, p in plain.named_parameters() if p.ndim == 3]
    assert left and not [name for name, p in small.named_parameters() if p.ndim == 3]
    apart = (logits(small) - logits(plain)).norm() / logits(plain).norm()
    assert 0 < apart < 0.2


@pytest.mark.parametrize(("quantized", "named"), [(False, False), (False, True), (True, False)])
def test_the_plan_counts_what_peft_trains_of_a_mixture_of_experts(folder, quantized, named):
    more = {"target_parameters": EXPERTS} if named else {}
    net = Lora(name="l", config=LORA | more).attach(load(folder, replace(NF4, experts=quantized)))
    check_adapter(net)
    shapes = described(json.loads((folder / "config.json").read_text()))
    setup = setup_of(folder, quantized_experts=quantized, target_parameters=tuple(more.get("target_parameters", ())))
    assert trained_parameters(shapes, setup) == sum(trained(net).values())
    reached = any("experts" in name for name in trained(net))
    assert reached == (named or (not quantized and "Qwen3" in type(net.base_model.model).__name__))


def test_an_adapter_on_experts_is_saved_and_loaded_again(folder, tmp_path):
    adapter = Lora(name="l", config=LORA | {"target_parameters": EXPERTS})
    net = adapter.attach(load(folder, NF4))
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))) * 0.1)
    adapter.save(net, tmp_path / "a")
    again = adapter.attach(load(folder, NF4))
    assert not torch.allclose(logits(again), logits(net), atol=1e-3)
    adapter.load(again, tmp_path / "a")
    torch.testing.assert_close(logits(again), logits(net))


def test_the_plan_says_what_stays_in_16_bits_and_what_an_adapter_reaches(monkeypatch):
    words = ["model=gpt_oss_20b", "hardware=h200", "calibration=null", "quant=nf4"]
    shown = {}
    for experts in ("false", "true"):
        out = io.StringIO()
        builder = PlanBuilder(compose("plan", [*words, f"+quant.experts={experts}"]))
        plan_terminal.show(builder.plan, Console(file=out, width=200))
        shown[experts] = out.getvalue()
    assert "19,110,297,600 x 2 bytes: tensors of experts, which +quant.experts=true quantizes too" in shown["false"]
    assert "not the experts (+adapter.target_parameters=[mlp.experts.down_proj" in shown["false"]
    assert "parameters of linear layers and experts" in shown["true"]
    assert "not the experts (which are quantized)" in shown["true"]
    named = PlanBuilder(compose("plan", ["model=qwen3_coder_30b", *words[1:]]))
    assert "mlp.experts.gate_up_proj (704,643,072 parameters)" in plan_terminal.facts(named.plan)["lora"]
    less = weights(named.plan.asked.shapes, replace(named.plan.asked.setup, quantized_experts=True))
    assert sum(t.bytes for t in less) < 0.4 * sum(
        t.bytes for t in weights(named.plan.asked.shapes, named.plan.asked.setup)
    )


def test_incompatible_options_are_one_line(folder):
    with pytest.raises(ConfigError, match=r"quant\.experts=true requires 4 bits"):
        bitsandbytes(name="none", bits=None, type=None, double=None, experts=True)
    net = load(folder, replace(NF4, experts=True))
    with pytest.raises(ConfigError, match="which is quantized; PEFT cannot train it"):
        Lora(name="l", config=LORA | {"target_parameters": EXPERTS}).attach(net)
