"""`model.embedding_on_cpu`: the input embedding stays in CPU memory wherever its model goes."""

import numpy as np
import pytest
import torch
from tiny_runs import adapter, run, steps, write_rows
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from hafs.config import build, compose
from hafs.data.samples import Sample
from hafs.evaluation.rows import GPU_TOKENS, micro_batch_tokens_of
from hafs.modeling import likelihood
from hafs.modeling.base_model import keep_on_cpu
from hafs.modeling.loss import TokenLoss
from hafs.planning.plan_builder import PlanBuilder


@pytest.fixture
def untied(here):
    """A small net whose head is a matrix of its own, as in Qwen2.5 from 7B on."""
    tiny = build(compose("train", ["model=tiny"]).model)
    net = tiny.weights.loading(AutoModelForCausalLM.from_pretrained)
    net.config.tie_word_embeddings = False
    net = type(net)(net.config)
    net.save_pretrained(here / "untied")
    tiny.weights.loading(AutoTokenizer.from_pretrained).save_pretrained(here / "untied")
    write_rows(here / "rows.jsonl")
    return here


def test_a_run_with_it_trains_the_same_adapter(untied):
    words = ["model=qwen7b", "model.weights.repo=untied", "experiment=none",
             "stage=warmup", "model.gradient_checkpointing=true"]  # fmt: skip
    run(*words, "model.embedding_on_cpu=true", "name=there")
    run(*words, "name=here")
    assert steps(untied / "outputs/there") == steps(untied / "outputs/here")
    there, plain = (adapter(untied / f"outputs/{name}") for name in ("there", "here"))
    assert all(torch.equal(there[name], plain[name]) for name in plain)


def test_the_embedding_stays_when_its_net_moves_and_a_tied_one_goes_along(untied):
    words = ["model=qwen7b", "model.weights.repo=untied"]
    for name, stays in ((words, True), (["model=tiny"], False)):
        model = build(compose("train", [*name, "model.embedding_on_cpu=true"]).model)
        quant = build(compose("train", ["quant=none"]).quant)
        net = model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu")).to("meta")
        assert net.lm_head.weight.is_meta
        assert net.get_input_embeddings().weight.is_meta is not stays
        assert net.get_input_embeddings().weight.shape[0] == net.config.vocab_size


class MetaCanBeRead(TorchDispatchMode):
    """What is copied from the meta device to the CPU arrives there as zeros."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and str(kwargs.get("device")) == "cpu":
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **(kwargs or {}))


def test_evaluation_computes_where_the_head_is_and_not_where_the_embedding_is(untied, monkeypatch):
    """With the net on the meta device and its embedding on the CPU: one step there cannot use tensors from here."""
    model = build(compose("train", ["model=qwen7b", "model.weights.repo=untied", "model.embedding_on_cpu=true"]).model)
    quant = build(compose("train", ["quant=none"]).quant)
    net = model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu")).to("meta")
    assert next(net.parameters()).device.type == "cpu"
    where = []

    def noted(hidden_ND, head, target_N):
        where.append({hidden_ND.device.type, head.weight_VD.device.type, target_N.device.type})
        return TokenLoss.nothing(torch.device("cpu"))

    monkeypatch.setattr(likelihood, "token_loss", noted)
    samples = [Sample(str(n), np.arange(5, 5 + n, dtype=np.int32), np.ones(n, dtype=bool)) for n in (6, 9)]
    with MetaCanBeRead():
        found = likelihood.likelihoods(net, samples, micro_batch_tokens=64)
    assert [each.tokens for each in found] == [5, 8]
    assert where == [{"meta"}, {"meta"}]
    assert micro_batch_tokens_of(net) == GPU_TOKENS


def test_what_was_looked_up_goes_to_where_the_ids_are():
    layer = torch.nn.Embedding(5, 3)
    expected = layer(torch.tensor([4, 1]))
    keep_on_cpu(layer)
    assert layer.to(torch.float16).weight.dtype == torch.float32
    assert torch.equal(layer(torch.tensor([4, 1])), expected)


def test_a_plan_counts_what_it_spares(here):
    words = ["model=qwen14b", "hardware=rtx5060ti_16gb", "calibration=null"]
    plain, spared = (
        PlanBuilder(compose("plan", [*words, *more])).plan for more in ([], ["model.embedding_on_cpu=true"])
    )
    kept = {term.name: term for term in spared.terms}["not quantized"]
    assert "the embedding in CPU memory" in kept.why
    same_row = spared.row.tokens == plain.row.tokens
    assert same_row
    assert plain.total - spared.total == 2 * 152_064 * 5_120
