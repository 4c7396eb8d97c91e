import json
import os
import time

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize

from hafs.config import build, compose
from hafs.core.errors import HafsError
from hafs.modeling.base_model import quiet_libraries
from hafs.modeling.gguf import cache, write_adapter, write_model


def folder_of(*words):
    return build(compose("train", list(words)).model).weights.folder()


def tensors(path):
    return {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_written_model_is_the_model_again(architecture, tmp_path):
    """Read back by transformers, which turns llama.cpp's order around."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = folder_of("model=tiny", f"model.weights.architecture={architecture}")
    path = write_model(folder, tmp_path / "m.gguf", kind="f32")
    before = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    after = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    for (name, a), (_, b) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    own, theirs = (AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name))
    text = "LDA #$0F ; naïve 你好 \n\t12345 don't <|im_end|>"
    assert own(text)["input_ids"] == theirs(text)["input_ids"]
    assert own.chat_template == theirs.chat_template
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.gguf"]


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """The tensors of a Llama, as llama.cpp sees them."""
    return tensors(write_model(folder_of("model=tiny"), tmp_path_factory.mktemp("exact") / "m.gguf", kind="f32"))


@pytest.mark.parametrize("kind, error", [("bf16", 2**-8), ("q8_0", 2**-6)])
def test_kinds_round_as_they_should(kind, error, tmp_path, exact):
    stored = tensors(write_model(folder_of("model=tiny"), tmp_path / "m.gguf", kind=kind))
    assert exact.keys() == stored.keys()
    for name, a in exact.items():
        assert np.abs(a - stored[name]).max() <= error * np.abs(a).max(), name


def adapter_at(path, folder, **fields):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    net = get_peft_model(net, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **fields))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    net.save_pretrained(path)
    return net


def test_a_written_adapter_adds_what_peft_adds(tmp_path, exact):
    folder = folder_of("model=tiny")
    net = adapter_at(tmp_path / "a", folder, use_rslora=True, lora_alpha=32, alpha_pattern={"q_proj": 3})
    path = write_adapter(tmp_path / "a", folder, tmp_path / "a.gguf")
    written = tensors(path)
    alpha = GGUFReader(path).fields["adapter.lora.alpha"].contents()
    merged = net.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "merged" / name).write_bytes((folder / name).read_bytes())
    expected = tensors(write_model(tmp_path / "merged", tmp_path / "merged.gguf", kind="f32"))
    assert len(written) == 2 * 2 * 7
    for name, tensor in exact.items():
        a, b = written.get(f"{name}.lora_a"), written.get(f"{name}.lora_b")
        added = 0 if a is None or b is None else alpha / b.shape[1] * (b @ a)
        np.testing.assert_allclose(tensor + added, expected[name], atol=1e-5, err_msg=name)


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path):
    folder = folder_of("model=tiny")
    adapter_at(tmp_path / "dora", folder, use_dora=True)
    with pytest.raises(HafsError, match="is not a plain LoRA"):
        write_adapter(tmp_path / "dora", folder, tmp_path / "a.gguf")
    with pytest.raises(HafsError, match="no adapter"):
        write_adapter(tmp_path, folder, tmp_path / "a.gguf")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt_neox"}))
    with pytest.raises(HafsError, match="gpt_neox"):
        write_model(tmp_path, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("architecture, split", [("llama", "gpt-2"), ("qwen2", "qwen2")])
def test_a_file_splits_text_as_the_tokenizer_of_training_does(architecture, split, tmp_path):
    """Both folders have the same tokenizer.json; transformers splits as Qwen2 does wherever the model is one."""
    folder = folder_of("model=tiny", f"model.weights.architecture={architecture}")
    fields = GGUFReader(write_model(folder, tmp_path / "m.gguf")).fields
    assert fields["tokenizer.ggml.pre"].contents() == split


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache with two files of 1,000 bytes, the second asked for yesterday."""
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path))
    (tmp_path / "gguf").mkdir()
    for name, days in (("first", 20), ("second", 1)):
        path = tmp_path / "gguf" / f"{name}.gguf"
        path.write_bytes(bytes(1000))
        os.utime(path, (time.time() - days * 86400,) * 2)
    return tmp_path / "gguf"


def base_of(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_file_is_written_once_for_the_same_base_and_again_for_another(kept, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(cache, "write_model", lambda base, target, kind: written.append(target.write_bytes(b"model")))
    base = base_of(tmp_path)
    path = cache.base_file(base, "bf16")
    os.utime(path, (0, 0))
    assert cache.base_file(base, "bf16") == path
    assert path.stat().st_mtime > time.time() - 60, "asking for it counts as use"
    assert len(written) == 1
    assert cache.base_file(base, "f16") != path
    (base / "tokenizer.json").write_text("{}")
    assert cache.base_file(base, "bf16") != path


@pytest.mark.parametrize(
    "most, days, left",
    [(5000, 30, {"first", "second"}), (1500, 30, {"second"}), (5000, 7, {"second"}), (600, 0.5, set())],
)
def test_unused_files_are_removed_and_reported(kept, tmp_path, monkeypatch, capsys, most, days, left):
    monkeypatch.setattr(cache, "MOST_BYTES", most)
    monkeypatch.setattr(cache, "UNUSED_DAYS", days)
    monkeypatch.setattr(cache, "write_model", lambda base, target, kind: target.write_bytes(bytes(500)))
    new = cache.base_file(base_of(tmp_path), "bf16")
    assert {path.stem for path in kept.glob("*.gguf")} == left | {new.stem}
    assert ("GB of GGUF files" in capsys.readouterr().err) == (len(left) < 2)
