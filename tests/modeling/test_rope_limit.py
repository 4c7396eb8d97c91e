"""Frequencies that depend on the longest sample of a pass: no sample may change those of another."""

from itertools import pairwise

import pytest
import torch

from hafs.modeling import model_parts
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.generation import for_inference
from hafs.modeling.generation.decoder import Decoder, Generation
from hafs.modeling.quantization import Quant

LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        "original_max_position_embeddings": 24, "rope_theta": 10000.0, "factor": 4.0}  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 24}
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 160, "pad_token_id": 0}  # fmt: skip


@pytest.fixture(params=["phi3", "llama"])
def nets(request, tmp_path):
    """One network, as transformers and as hafs load it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    rope, longest = (LONG, 64) if request.param == "phi3" else (DYNAMIC, 24)
    config = AutoConfig.for_model(request.param, **SIZES, rope_parameters=rope, max_position_embeddings=longest)
    if request.param == "phi3":
        config.original_max_position_embeddings = 24
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    theirs.save_pretrained(tmp_path)
    model = Model(name="t", weights=Hub(repo=str(tmp_path), revision="main"), gradient_checkpointing=False,
                  embedding_on_cpu=False, template=None)  # fmt: skip
    quant = Quant(name="none", bits=None, type=None, double=None)
    return theirs, model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu"))


def logits(net, ids_T):
    with torch.no_grad():
        return net(input_ids=ids_T[None], use_cache=False).logits[0]


def test_a_long_sample_of_a_packed_sequence_leaves_the_short_ones_as_they_are(nets):
    theirs, ours = nets
    assert model_parts.rope_limit(ours) == 24
    borders = [0, 10, 50, 62, 92]
    ids_T = torch.randint(5, 160, (92,), generator=torch.Generator().manual_seed(1))
    places_T = torch.cat([torch.arange(j - i) for i, j in pairwise(borders)])
    with torch.no_grad():
        hidden_TD = model_parts.hidden_states(ours, ids_T, places_T, borders)
    got = model_parts.head(ours).logits(hidden_TD)
    expected = torch.cat([logits(theirs, ids_T[i:j]) for i, j in pairwise(borders)])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def test_an_answer_that_grows_long_has_a_pass_of_its_own(nets):
    theirs, ours = nets
    prompts = [[7, 8, 9, 10], list(range(20, 50)), [5, 6], list(range(60, 80))]
    limits = [6, 6, 6, 8]
    rows = [Generation(prompt, adapter=None, limit=limit) for prompt, limit in zip(prompts, limits, strict=True)]
    with for_inference(ours):
        decoder = Decoder(ours, ends=())
        for row in rows:
            decoder.add(row)
        while decoder:
            decoder.step()
            assert len(decoder.running) == 1 or not any(map(decoder._runs_alone, decoder.running))
    for row in rows:
        made = theirs.generate(torch.tensor([row.prompt]), max_new_tokens=row.limit, do_sample=False, eos_token_id=None)
        assert row.said == made[0, len(row.prompt) :].tolist()
