import pytest
import torch
from generation_nets import PROMPTS, conversation, loaded

from hafs.chat import end_tokens, render
from hafs.modeling import model_parts
from hafs.modeling.generation import Generation, Sampling, answer, decode, for_inference, set_for_inference
from hafs.modeling.generation.admission import Admission, cache_bytes_per_token
from hafs.modeling.generation.decoder import Decoder
from hafs.modeling.kv_cache import STRIDE, KVCache, rounded

NAMES = [None, "a0", "a1", None, "a1"]


def rows_of(tokenizer, limit=24, names=NAMES, **rule):
    return [
        Generation(render(tokenizer, conversation(text), for_generation=True).tokens, adapter=name, limit=limit,
            sampling=Sampling(seed=i, **rule))
        for i, (text, name) in enumerate(zip(PROMPTS, names, strict=True))
    ]  # fmt: skip


def said(net, tokenizer, rows, concurrency):
    with for_inference(net):
        for _ in decode(net, rows, ends=end_tokens(tokenizer), concurrency=concurrency):
            pass
    return [row.said for row in rows]


def of_transformers(net, tokenizer, row):
    """The answer of transformers and PEFT alone, to one prompt."""
    from contextlib import nullcontext

    from transformers import GenerationConfig

    base = net.get_base_model()
    before = base.config._attn_implementation
    base.set_attn_implementation("sdpa")
    if row.adapter:
        net.set_adapter(row.adapter)
    ends = end_tokens(tokenizer)
    settings = GenerationConfig(do_sample=False, max_new_tokens=row.limit, eos_token_id=ends, pad_token_id=ends[0])
    ids = torch.tensor([row.prompt])
    with for_inference(net), net.disable_adapter() if row.adapter is None else nullcontext():
        out = net.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    base.set_attn_implementation(before)
    net.set_adapter("a0")
    return [token for token in out[0, len(row.prompt) :].tolist() if token not in ends]


def test_rows_with_adapters_of_their_own_say_what_they_say_alone_and_in_transformers(tiny):
    net, tokenizer = tiny
    together = said(net, tokenizer, rows_of(tokenizer), concurrency=3)
    alone = [said(net, tokenizer, [row], 1)[0] for row in rows_of(tokenizer)]
    assert together == alone
    assert together == [of_transformers(net, tokenizer, row) for row in rows_of(tokenizer)]
    assert len({tuple(tokens) for tokens in together}) == 4  # the bare tiny model says one thing to everybody


def test_the_real_model_too():
    net, tokenizer = loaded("smollm2_135m")
    together = said(net, tokenizer, rows_of(tokenizer, limit=8)[:3], concurrency=3)
    assert together == [said(net, tokenizer, [row], 1)[0] for row in rows_of(tokenizer, limit=8)[:3]]
    assert together == [of_transformers(net, tokenizer, row) for row in rows_of(tokenizer, limit=8)[:3]]
    assert "Paris" in tokenizer.decode(together[0])


@pytest.mark.skipif(
    torch.cpu._is_amx_tile_supported(),
    reason="on CPUs with AMX, bf16 products of two rows round otherwise than of three",
)
def test_scores_over_four_bits_are_bit_for_bit_those_of_a_row_alone():
    """Products of one row round otherwise than those of more: nothing may ever be computed for one row."""
    net, tokenizer = loaded("smollm2_135m", quant="nf4", dtype=torch.bfloat16)
    seen = {}

    def run(rows):
        decoder = Decoder(net, ends=())
        score = decoder.logits

        def watched(hidden):
            scores = score(hidden)
            for row, scores_V in zip(decoder.running, scores, strict=False):
                seen.setdefault(tuple(row.prompt), []).append(scores_V)
            return scores

        decoder.logits = watched
        for row in rows:
            decoder.add(row)
        while decoder:
            decoder.step()

    before, found = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        with for_inference(net):
            for groups in ([rows_of(tokenizer, limit=6)[:3]], [[row] for row in rows_of(tokenizer, limit=6)[:3]]):
                seen.clear()
                for group in groups:
                    run(group)
                found.append({key: torch.stack(scores) for key, scores in seen.items()})
    finally:
        torch.set_num_threads(before)
    for key, scores_SV in found[0].items():
        assert torch.equal(scores_SV, found[1][key])


def test_choosing_by_row_leaves_the_active_adapter_alone(tiny):
    net, tokenizer = tiny
    said(net, tokenizer, rows_of(tokenizer, limit=2), concurrency=5)
    assert net.active_adapter == "a0"
    assert all(parameter.requires_grad for name, parameter in net.named_parameters() if ".lora_A.a0." in name)


def test_variants_of_lora_keep_pefts_arithmetic_row_by_row():
    net, tokenizer = loaded("tiny", spread=1.0, use_dora=True)
    together = said(net, tokenizer, rows_of(tokenizer, limit=8), concurrency=5)
    assert together == [of_transformers(net, tokenizer, row) for row in rows_of(tokenizer, limit=8)]


def test_a_seed_draws_the_same_whatever_the_neighbours():
    net, tokenizer = loaded("tiny", spread=1.0, dtype=torch.bfloat16)  # where products round the same for any rows
    together = said(net, tokenizer, rows_of(tokenizer, temperature=0.8, top_p=0.9), concurrency=4)
    alone = [said(net, tokenizer, [row], 1)[0] for row in rows_of(tokenizer, temperature=0.8, top_p=0.9)]
    assert together == alone
    greedy = said(net, tokenizer, rows_of(tokenizer), concurrency=4)
    assert together != greedy


def test_a_tiny_top_p_is_greedy(tiny):
    net, tokenizer = tiny
    nucleus = said(net, tokenizer, rows_of(tokenizer, temperature=1.0, top_p=1e-6), concurrency=4)
    assert nucleus == said(net, tokenizer, rows_of(tokenizer), concurrency=4)


def test_an_end_token_ends_its_row_alone_and_the_limit_says_length(tiny):
    net, tokenizer = tiny
    rows = rows_of(tokenizer)
    free = said(net, tokenizer, rows_of(tokenizer), concurrency=5)
    end = free[1][5]
    with for_inference(net):
        list(decode(net, rows, ends=[end], concurrency=5))
    for row, before in zip(rows, free, strict=True):
        cut = before.index(end) if end in before else len(before)
        assert row.said == before[:cut]
        assert row.finish == ("stop" if end in before else "length")


def test_a_dropped_row_frees_its_slot_and_does_not_disturb_others(tiny):
    net, tokenizer = tiny
    free = said(net, tokenizer, rows_of(tokenizer), concurrency=5)
    rows = rows_of(tokenizer)
    decoder = Decoder(net, ends=end_tokens(tokenizer), rows=4)
    for row in rows:
        decoder.add(row)
    with for_inference(net):
        for step in range(200):
            if step == 3:
                decoder.drop(rows[0])
                assert len(decoder.kv_cache.lengths) == 3
            if not decoder:
                break
            decoder.step()
    assert len(rows[0].said) == 3
    assert [row.said for row in rows[1:]] == free[1:]
    assert not decoder.kv_cache.lengths


def test_answers_stream_their_text_and_say_why_they_ended(tiny):
    net, tokenizer = tiny
    pieces = dict.fromkeys(range(len(PROMPTS)), "")

    def hear(index, piece):
        pieces[index] += piece

    prompts = [conversation(text) for text in PROMPTS]
    answers = answer(net, tokenizer, prompts, max_new_tokens=12, adapters=NAMES, on_token=hear)
    assert [a.text for a in answers] == [pieces[i].strip() for i in pieces]
    assert all(a.finish_reason == ("stop" if a.ended else "length") for a in answers)
    assert [a.text for a in answers] == [
        answer(net, tokenizer, [p], max_new_tokens=12, adapters=[n])[0].text
        for p, n in zip(prompts, NAMES, strict=True)
    ]


@pytest.mark.parametrize("names", [["a0"] * 5, None])
def test_without_names_the_active_adapter_answers(tiny, names):
    net, tokenizer = tiny
    prompts = [conversation(text) for text in PROMPTS]
    by_default = answer(net, tokenizer, prompts, max_new_tokens=8)
    assert by_default == answer(net, tokenizer, prompts, max_new_tokens=8, adapters=names)


def test_set_for_inference_no_4_bit_layer_repacks_its_weights():
    """bitsandbytes does so in eval mode on some CPUs, and DoRA would take the norms of what it finds there."""
    from bitsandbytes.nn import Linear4bit

    net = torch.nn.Sequential(Linear4bit(4, 4), torch.nn.Dropout()).eval()
    set_for_inference(net)
    assert [module.training for module in net] == [True, False]


def test_rows_are_admitted_as_their_cache_fits(tiny):
    """Sixteen rows of 4,096 tokens of a 14B would take 12 GiB beside its 9.3."""
    net, tokenizer = tiny
    rows = rows_of(tokenizer)
    room = rounded(max(len(row.prompt) + row.limit for row in rows))
    expected = said(net, tokenizer, rows_of(tokenizer), concurrency=5)
    seen = []
    with for_inference(net):
        decoder = Decoder(net, ends=end_tokens(tokenizer), rows=5)
        decoder.admission = Admission(2 * room)
        for row in rows:
            decoder.add(row)
        while decoder:
            decoder.step()
            seen.append(len(decoder.running))
    assert max(seen) == 2
    assert [row.said for row in rows] == expected


def test_a_cache_counts_the_bytes_that_its_tokens_take(tiny):
    net, _ = tiny
    kv_cache, decoder = KVCache(), model_parts.decoder_of(net)
    kv_cache.begin_packed([(kv_cache.open(), STRIDE)])
    with for_inference(net), torch.no_grad():
        ids = torch.arange(STRIDE)[None]
        decoder(input_ids=ids, position_ids=ids, use_cache=False, kv_cache=kv_cache)
    held = sum(x.numel() * x.element_size() for x in (*kv_cache._keys.values(), *kv_cache._values.values()))
    assert held == STRIDE * cache_bytes_per_token(net)
    assert Admission.of(net).tokens > 1000


@pytest.mark.parametrize("fails_at", [1, 4, 9])
def test_where_memory_runs_out_fewer_rows_go_on_and_nothing_is_lost_or_said_twice(tiny, monkeypatch, fails_at):
    net, tokenizer = tiny
    expected = said(net, tokenizer, rows_of(tokenizer), concurrency=5)
    rows, told, passes = rows_of(tokenizer), {}, []
    real = Decoder._pass

    def limited(self, ids, *of):
        passes.append(len(self.running))
        if len(passes) >= fails_at and len(self.running) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, ids, *of)

    monkeypatch.setattr(Decoder, "_pass", limited)
    with for_inference(net):
        for row, token in decode(net, rows, ends=end_tokens(tokenizer), concurrency=5):
            told.setdefault(id(row), []).extend([] if token is None else [token])
    assert [row.said for row in rows] == expected
    assert [told[id(row)] for row in rows] == expected
    assert max(passes[fails_at:]) <= 5


def test_memory_that_runs_out_for_a_single_row_is_an_error(tiny, monkeypatch):
    net, tokenizer = tiny
    out = torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(Decoder, "_pass", lambda *_: (_ for _ in ()).throw(out))
    with for_inference(net), pytest.raises(torch.OutOfMemoryError):
        list(decode(net, rows_of(tokenizer)[:1], ends=end_tokens(tokenizer)))


def test_a_cache_of_layers_of_several_widths_is_counted():
    from types import SimpleNamespace

    from transformers import Gemma4TextConfig

    config = Gemma4TextConfig(num_hidden_layers=6, num_key_value_heads=2, head_dim=8, global_head_dim=16)
    net = SimpleNamespace(config=config, dtype=torch.float32)
    assert cache_bytes_per_token(net) == 2 * 4 * 2 * (5 * 8 + 16)
