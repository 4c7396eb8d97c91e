"""Full training's weights: written whole, read back one after the other."""

import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hafs.core.errors import RunError
from hafs.modeling.adapter import Full

FULL = Full(name="none")


def net(seed, **changes):
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**sizes | changes))


@pytest.mark.parametrize("tied", [True, False])
def test_a_net_that_was_saved_is_read_into_another(tmp_path, tied):
    saved, other = net(1, tie_word_embeddings=tied), net(2, tie_word_embeddings=tied)
    FULL.save(saved, tmp_path)
    FULL.load(other, tmp_path)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in saved.state_dict().items())
    assert (other.lm_head.weight is other.model.embed_tokens.weight) == tied


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"intermediate_size": 96}])
def test_another_models_weights_are_refused_and_nothing_is_changed(tmp_path, change):
    FULL.save(net(1), tmp_path)
    other = net(2, **change)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(RunError, match=r"another model: .*layers"):
        FULL.load(other, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for its peak")
def test_reading_needs_room_for_one_tensor_and_not_for_all(tmp_path):
    big = net(1, hidden_size=1024, intermediate_size=4096, num_hidden_layers=4)  # 50 tensors, the largest of 16 MiB
    FULL.save(big, tmp_path)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what there is now
    before = peak()
    FULL.load(big, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size > 200 * 2**20
    assert peak() - before < 64 * 2**20


def peak():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])
