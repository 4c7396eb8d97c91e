"""Shapes: exact, shipped, and the same as the nets themselves."""

import pytest

from hafs.config import build, compose
from hafs.core.errors import ConfigError
from hafs.planning.architecture import architecture_of, config_of, described, entries
from hafs.planning.counting import counted
from hafs.planning.leaf import Leaf

PUBLISHED = {  # parameters, as their model cards and papers give them
    "qwen1_5b": 1_543_714_304,
    "qwen7b": 7_615_616_512,
    "qwen14b": 14_770_033_664,
    "qwen32b": 32_763_876_352,
    "qwen3_14b": 14_768_307_200,
    "phi4_14b": 14_659_507_200,
    "llama31_8b": 8_030_261_248,
    "mistral_nemo_12b": 12_247_782_400,
    "smollm2_135m": 134_515_008,
    "gemma3_4b": 4_300_079_472,
    "gpt_oss_20b": 20_914_757_184,
    "qwen3_8b": 8_190_735_360,
    "glm4_9b": 9_399_951_360,
    "qwen3_coder_30b": 30_532_122_624,
    "devstral_24b": 23_572_403_200,
}


@pytest.mark.parametrize("name", entries())
def test_the_shipped_leaves_are_those_of_the_net_on_the_meta_device(name):
    entry = entries()[name]
    shipped = [Leaf(**leaf | {"weight": tuple(leaf["weight"])}) for leaf in entry["leaves"]]
    assert counted(entry["config"]) == shipped
    if name in PUBLISHED:
        assert described(entry["config"]).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", ["qwen14b", "gemma4_e4b", "smollm2_135m", "gemma3_270m", "tiny"])
def test_every_model_option_has_its_shapes_shipped(name):
    model = build(compose("train", [f"model={name}"]).model)
    config = config_of(model)
    assert any(entry["config"] == config for entry in entries().values())


def test_another_small_net_is_counted_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path))
    model = build(compose("train", ["model=tiny", "model.weights.layers=3"]).model)
    first = architecture_of(model)
    monkeypatch.setattr("hafs.planning.counting.counted", lambda _: pytest.fail("counted again"))
    assert architecture_of(model) == first
    assert first.layers == 3


def test_a_hub_model_without_its_config_on_this_machine_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    model = build(compose("train", ["model=hub", "model.weights.repo=nobody/nothing"]).model)
    with pytest.raises(ConfigError, match=r"needs the config.json of 'nobody/nothing'"):
        architecture_of(model)


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 120}
OTHERS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 120, "n_positions": 64},
    "qwen3_moe": TINY | {"intermediate_size": 48, "moe_intermediate_size": 16, "num_experts": 8,
                         "num_experts_per_tok": 2, "num_key_value_heads": 2, "head_dim": 8},
    "gpt_oss": TINY | {"intermediate_size": 48, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8,
                       "num_key_value_heads": 2},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 120, "state_size": 4},
    "bart": {"d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4, "vocab_size": 120,
             "encoder_layers": 2, "encoder_ffn_dim": 48, "encoder_attention_heads": 4},
    "bamba": TINY | {"intermediate_size": 48, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8,
                     "attn_layer_indices": [1], "time_step_limit": [0.0, {"__float__": "Infinity"}]},
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_types_of_every_make_are_counted_to_the_last_parameter(kind, tmp_path, monkeypatch):
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    monkeypatch.setenv("HAFS_CACHE", str(tmp_path))
    fields = {name: value for name, value in OTHERS[kind].items() if name != "time_step_limit"}
    net = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**fields))
    shapes = described(OTHERS[kind] | {"model_type": kind})
    assert shapes.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert (shapes.hidden, shapes.layers) == (32, 2)


def test_experts_in_one_tensor_stay_unquantized_and_few_of_them_work(tmp_path, monkeypatch):
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path))
    shapes = described(OTHERS["qwen3_moe"] | {"model_type": "qwen3_moe"})
    assert shapes.expert_parameters == 2 * 8 * 3 * 32 * 16
    assert shapes.kept_parameters > shapes.expert_parameters
    assert shapes.worked_parameters == shapes.linear_parameters + shapes.expert_parameters // 4


def test_a_type_that_transformers_does_not_know_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="'nosuch'"):
        described({"model_type": "nosuch", "hidden_size": 8})
