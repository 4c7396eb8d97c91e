"""Shapes: exact, shipped, and the same as the nets themselves."""

import pytest

from hafs.config import build, compose
from hafs.core.errors import ConfigError
from hafs.planning.architecture import Leaf, architecture_of, config_of, counted, described, entries

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
}


@pytest.mark.parametrize("name", entries())
def test_the_shipped_leaves_are_those_of_the_net_on_the_meta_device(name):
    entry = entries()[name]
    shipped = [Leaf(**leaf | {"weight": tuple(leaf["weight"])}) for leaf in entry["leaves"]]
    assert counted(entry["config"]) == shipped
    if name in PUBLISHED:
        assert described(entry["config"]).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", ["qwen1_5b", "qwen7b", "qwen14b", "qwen32b", "smollm2_135m", "tiny"])
def test_every_model_option_has_its_shapes_shipped(name):
    model = build(compose("train", [f"model={name}"]).model)
    config = config_of(model)
    assert any(entry["config"] == config for entry in entries().values())


def test_another_small_net_is_counted_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path))
    model = build(compose("train", ["model=tiny", "model.weights.layers=3"]).model)
    first = architecture_of(model)
    monkeypatch.setattr("hafs.planning.architecture.counted", lambda _: pytest.fail("counted again"))
    assert architecture_of(model) == first
    assert first.layers == 3


def test_a_hub_model_without_its_config_on_this_machine_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    model = build(compose("train", ["model=qwen7b", "model.weights.repo=nobody/nothing"]).model)
    with pytest.raises(ConfigError, match=r"needs the config.json of 'nobody/nothing'"):
        architecture_of(model)
