"""A fast step computes what the model's own step does, or is not used."""

import pytest
import torch
from generation_nets import PROMPTS, conversation, loaded
from transformers import Qwen2Config, Qwen2ForCausalLM

from hafs.chat import end_tokens, render
from hafs.modeling.attention import NAME
from hafs.modeling.generation import Generation, fast_step, for_inference
from hafs.modeling.generation.decoder import Decoder
from hafs.modeling.generation.fast_step import fast_step_of

NAMES = [None, "a0", "a1", None, "a1"]


def scores_of(net, tokenizer, step, rows, *, limit=8):
    """The scores of every token of every answer, by prompt; all prompts share the passes."""
    found, decoder = {}, Decoder(net, ends=end_tokens(tokenizer), fast_step=lambda: step)
    take = decoder._take

    def watched(now, logits_BV):
        for row, logits_V in zip(now, logits_BV, strict=True):
            found.setdefault(tuple(row.prompt), []).append(logits_V)
        return take(now, logits_BV)

    decoder._take = watched
    for text, name in rows:
        prompt = render(tokenizer, conversation(text), for_generation=True).tokens
        decoder.add(Generation(prompt, adapter=name, limit=limit))
    with for_inference(net):
        while decoder:
            decoder.step()
    return {prompt: torch.stack(scores) for prompt, scores in found.items()}


def the_same_way(net, monkeypatch):
    """The fast step of a net, and how often it was used."""
    with for_inference(net):
        step = fast_step_of(net)
    assert step is not None
    used, hidden = [], step.hidden
    monkeypatch.setattr(step, "hidden", lambda *given: used.append(1) or hidden(*given))
    return step, used


def test_rows_with_adapters_of_their_own_get_the_model_s_own_scores(monkeypatch):
    net, tokenizer = loaded("tiny")
    step, used = the_same_way(net, monkeypatch)
    rows = list(zip(PROMPTS, NAMES, strict=True))
    own, fast = scores_of(net, tokenizer, None, rows), scores_of(net, tokenizer, step, rows)
    assert used
    for prompt, scores in own.items():
        torch.testing.assert_close(fast[prompt], scores, rtol=1e-4, atol=1e-4)
    without = scores_of(net, tokenizer, step, [(text, None) for text in PROMPTS])
    assert not all(torch.equal(without[prompt], fast[prompt]) for prompt in own)  # the adapters change something


@pytest.mark.skipif(torch.cpu._is_amx_tile_supported(), reason="bf16 products round by the number of rows with AMX")
def test_over_four_bits_it_is_within_rounding_and_no_row_depends_on_the_others(monkeypatch):
    net, tokenizer = loaded("smollm2_135m", quant="nf4", dtype=torch.bfloat16)
    step, used = the_same_way(net, monkeypatch)
    rows = list(zip(PROMPTS, NAMES, strict=True))[:3]
    own, fast = (scores_of(net, tokenizer, each, rows, limit=3) for each in (None, step))
    assert used
    for prompt, scores in own.items():
        assert float((fast[prompt] - scores).std() / scores.std()) < 0.1
        assert fast[prompt][0].equal(scores[0])  # prompts are read as before
    for row in rows:
        ((prompt, alone),) = scores_of(net, tokenizer, step, [row], limit=3).items()
        assert alone.equal(fast[prompt])


def test_an_adapter_that_is_more_than_two_matrices_takes_the_model_s_own_step():
    net, tokenizer = loaded("tiny", use_dora=True)
    with for_inference(net):
        step = fast_step_of(net)
    assert step is not None
    rows = [(PROMPTS[0], "a0"), (PROMPTS[1], "a1")]
    own, fast = scores_of(net, tokenizer, None, rows), scores_of(net, tokenizer, step, rows)
    assert all(fast[prompt].equal(scores) for prompt, scores in own.items())


def test_biases_of_qwen2_are_added():
    config = Qwen2Config(vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, pad_token_id=0)  # fmt: skip
    torch.manual_seed(0)
    net = Qwen2ForCausalLM._from_config(config, attn_implementation=NAME)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    assert fast_step_of(net.eval()) is not None


def test_a_wrong_step_a_lack_of_memory_and_another_architecture_are_noticed(monkeypatch, caplog):
    net, _ = loaded("tiny", adapters=0)
    with monkeypatch.context() as changed:
        changed.setattr(fast_step, "_normed", lambda x_BD, norm: x_BD * norm.weight)
        assert fast_step_of(net) is None
    assert "differ from its own by" in caplog.text
    with monkeypatch.context() as changed:
        changed.setattr(fast_step, "spare_bytes", lambda _: 1000)
        assert fast_step_of(net) is None
    assert "do not fit in memory" in caplog.text
    with monkeypatch.context() as changed:
        changed.setattr(net.config, "model_type", "gemma3_text")
        assert fast_step_of(net) is None
    assert fast_step_of(net) is not None
