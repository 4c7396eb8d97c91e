"""Models for images and text: the text part is trained, LoRA stays off the tower."""

import json

import pytest
import torch

from hafs.core.errors import HafsError
from hafs.modeling import model_parts
from hafs.modeling.adapter import Lora
from hafs.modeling.adapter_check import check_adapter
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.quantization import Quant
from hafs.planning.architecture import described

pytestmark = pytest.mark.filterwarnings("ignore")
NONE = Quant(name="none", bits=None, type=None, double=None)
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear", "use_rslora": False,
        "use_dora": False}  # fmt: skip


def load(folder):
    model = Model(name="t", weights=Hub(repo=str(folder), revision="main"), gradient_checkpointing=False,
                  embedding_on_cpu=False, template=None)  # fmt: skip
    return model.load(quant=NONE, dtype=torch.float32, device=torch.device("cpu"))


TEXT = {"vocab_size": 160, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
          "image_size": 28, "patch_size": 14}  # fmt: skip


@pytest.fixture(params=["ministral3", "mistral"])
def wrapper(request, tmp_path):
    """A small Mistral 3 as on the hub, whose text part is of one of two types."""
    from transformers import AutoModelForImageTextToText, Mistral3Config

    config = Mistral3Config(
        text_config={"model_type": request.param, **TEXT}, vision_config={"model_type": "pixtral", **VISION}
    )
    torch.manual_seed(0)
    net = AutoModelForImageTextToText.from_config(config)
    net.save_pretrained(tmp_path)
    return net, tmp_path


def test_a_wrapper_without_a_text_model_of_its_own_is_loaded_and_its_tower_left_alone(wrapper):
    reference, folder = wrapper
    net = load(folder)
    assert model_parts.run_mode(net).packs
    ids_T = torch.arange(5, 30)
    hidden_TD = model_parts.hidden_states(net, ids_T, torch.arange(25), [0, 25])
    with torch.no_grad():
        expected = reference.eval()(input_ids=ids_T[None]).logits[0]
    torch.testing.assert_close(model_parts.head(net).logits(hidden_TD.detach()), expected, atol=1e-4, rtol=1e-4)
    net = Lora(name="l", config=LORA).attach(net)
    check_adapter(net)
    adapted = {name for name, p in net.named_parameters() if p.requires_grad}
    assert adapted and not [name for name in adapted if "vision" in name or "projector" in name]


def test_the_plan_counts_the_tower_and_trains_none_of_it(wrapper, tmp_path, monkeypatch):
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path / "cache"))
    reference, folder = wrapper
    shapes = described(json.loads((folder / "config.json").read_text()))
    assert shapes.parameters == sum(p.numel() for p in reference.parameters())
    towers = {leaf.name for leaf in shapes.of("tower")}
    assert any("vision_tower" in name for name in towers)
    assert not [leaf.name for leaf in shapes.of("linear") if "vision" in leaf.name]
    assert shapes.worked_parameters < shapes.linear_parameters


def test_a_model_that_is_not_a_language_model_is_an_error(tmp_path):
    from transformers import ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(HafsError, match="no language model for a config of type 'vit'"):
        load(tmp_path)


def test_a_type_that_transformers_does_not_know_is_not_blamed_on_the_network(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nosuch"}')
    with pytest.raises(HafsError, match=r"cannot be read: .*nosuch") as refused:
        load(tmp_path)
    assert "network" not in refused.value.hint
