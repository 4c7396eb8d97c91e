"""Terms of the peak: compared with what torch and bitsandbytes really keep."""

import gc
from dataclasses import replace

import pytest
import torch

from hafs.config import build, compose
from hafs.modeling.adapter import lora
from hafs.modeling.attention import NAME
from hafs.modeling.kernel_limits import SHORT
from hafs.planning.architecture import architecture_of, described, entries
from hafs.planning.memory import Constants, Setup, attention_per_layer, kept_per_layer, terms, total, trained_parameters
from hafs.planning.workload import SequenceShape

SETUP = Setup(
    bits=4,
    double=True,
    rank=16,
    targets="all-linear",
    dora=False,
    dropout=0.0,
    eight_bit_optimizer=False,
    checkpointing=False,
    embedding_on_cpu=False,
    product_bytes=2,
    device="cpu",
)
NOTHING = Constants(context_bytes=0, slack=0.0, source="none")
ROW = SequenceShape(tokens=1024, samples=8, longest=128, short_squares=8 * 128**2, long_tokens=0, supervised=512)


def shapes(name):
    return described(entries()[name]["config"])


@pytest.mark.parametrize(
    ("name", "rank", "published"),
    [
        ("qwen14b", 16, 68_812_800),  # printed by Unsloth's notebooks: docs/explanation/planning.md
        ("llama31_8b", 16, 41_943_040),
        ("mistral_nemo_12b", 16, 57_016_320),
        ("smollm2_135m", 16, 4_884_480),  # printed by this project's demo
    ],
)
def test_trained_parameters_are_those_that_others_print(name, rank, published):
    assert trained_parameters(shapes(name), replace(SETUP, rank=rank)) == published


def test_quantized_bytes_are_those_of_bitsandbytes():
    from bitsandbytes.functional import quantize_4bit

    weight = torch.randn(192, 576, dtype=torch.bfloat16)
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    real = [state.absmax, state.code, state.state2.absmax, state.state2.code, state.offset]
    leaf = replace(shapes("smollm2_135m").of("linear")[1], weight=(192, 576), times=1)
    alone = replace(shapes("smollm2_135m"), leaves=(leaf,))
    found = {term.name: term.bytes for term in terms(alone, SETUP, ROW, NOTHING)}
    assert found["4-bit weights"] == packed.numel()
    assert found["scales"] == sum(x.numel() * x.element_size() for x in real)


def saved_bytes(net, samples, length):
    """Bytes of distinct storages that a forward pass keeps for the backward pass, weights and their casts left out."""
    known = {p.untyped_storage().data_ptr() for p in [*net.parameters(), *net.buffers()]}
    shapes = {p.shape for p in net.parameters()}
    kept = {}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in known and not (x.dim() == 2 and {x.shape, x.T.shape} & shapes):
            kept[storage.data_ptr()] = (storage.nbytes(), x)
        return x

    tokens = torch.zeros(1, samples * length, dtype=torch.long)
    positions = torch.arange(length).repeat(samples)[None]
    borders = [i * length for i in range(samples + 1)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = net.model(input_ids=tokens, position_ids=positions, borders=borders, use_cache=False)
    return sum(size for size, _ in kept.values()), out


def fresh(architecture, layers, dtype):
    """A net of random weights, and its shapes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from hafs.planning.architecture import config_of

    words = ["model=tiny", f"model.weights.architecture={architecture}", f"model.weights.layers={layers}"]
    model = build(compose("train", [*words, "model.weights.hidden_size=128"]).model)
    config = dict(config_of(model))
    settings = AutoConfig.for_model(config.pop("model_type"), **config)
    return AutoModelForCausalLM.from_config(settings, dtype=dtype, attn_implementation=NAME), architecture_of(model)


def rows_of(samples, length):
    """A full row of samples of one length."""
    tokens, short = samples * length, length <= SHORT
    return SequenceShape(
        tokens=tokens,
        samples=samples,
        longest=length,
        short_squares=samples * length**2 if short else 0,
        long_tokens=0 if short else tokens,
        supervised=tokens // 2,
    )


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(("dtype", "width"), [(torch.bfloat16, 2), (torch.float32, 4)])
@pytest.mark.parametrize(("architecture", "length"), [("llama", 64), ("qwen2", 64), ("llama", SHORT + 64)])
def test_activations_of_a_layer_are_what_autograd_keeps(dtype, width, architecture, length):
    found = []
    for layers in (2, 4):  # the difference leaves out what comes once
        net, known = fresh(architecture, layers, dtype)
        adapter = lora(
            name="x", r=8, lora_alpha=8.0, lora_dropout=0.0, target_modules="all-linear", use_rslora=False,
            use_dora=False,
        )  # fmt: skip
        found.append(saved_bytes(adapter.attach(net).train().get_base_model(), 4, length)[0])
    row, setup = rows_of(4, length), replace(SETUP, rank=8, product_bytes=width)
    planned = kept_per_layer(known, setup, row) + attention_per_layer(known, setup, row)
    assert planned == pytest.approx((found[1] - found[0]) / 2, rel=0.03)


@pytest.mark.parametrize(("autocast", "width"), [(True, 2), (False, 4)])
@pytest.mark.parametrize("length", [64, SHORT + 64])
def test_full_training_keeps_more_since_norms_learn_and_autocast_copies(autocast, width, length):
    found = []
    for layers in (2, 4):
        net, known = fresh("llama", layers, torch.float32)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found.append(saved_bytes(net.train(), 4, length)[0])
    row, setup = rows_of(4, length), replace(SETUP, rank=None, bits=None, product_bytes=width)
    planned = kept_per_layer(known, setup, row) + attention_per_layer(known, setup, row)
    assert planned == pytest.approx((found[1] - found[0]) / 2, rel=0.03)


def test_the_terms_move_as_they_should():
    big, gpu = shapes("qwen14b"), replace(SETUP, device="cuda", checkpointing=True)
    base = total(terms(big, gpu, ROW, NOTHING))

    def of(row=ROW, **changes):
        return total(terms(big, replace(gpu, **changes), row, NOTHING))

    assert of(rank=8) < base < of(rank=32)
    assert of(checkpointing=False) > base
    assert base - of(embedding_on_cpu=True) == 2 * big.embedding_parameters
    assert of(eight_bit_optimizer=True) == pytest.approx(base - 6 * trained_parameters(big, gpu), rel=0.001)
    assert of(bits=None) - base == pytest.approx(1.48 * big.linear_parameters, rel=0.02)
    longer = replace(ROW, tokens=2048, supervised=1024)
    assert of(longer) > base
    assert of(rank=None, bits=None) > 16 * big.parameters


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_loss_and_a_layer_at_work_are_not_added_up_but_the_larger_counts(checkpointing):
    small = replace(SETUP, checkpointing=checkpointing)

    def moments(row):
        found = {term.name: term for term in terms(shapes("smollm2_135m"), small, row, NOTHING)}
        return found, found["loss"].bytes, found["layer at work"].bytes + found["dequantization"].bytes

    found, loss, layer = moments(ROW if not checkpointing else replace(ROW, tokens=512, short_squares=4 * 128**2))
    assert loss > 30 * 2**20 and layer == 0
    assert "but not at the same time as the loss" in found["layer at work"].why
    long = replace(ROW, tokens=8192, short_squares=64 * 128**2, samples=64)
    found, loss, layer = moments(long)
    assert loss == 0 and layer > 100 * 2**20
    assert "0.04 GiB, but not at the same time as a layer at work" in found["loss"].why


def test_reading_the_weights_counts_where_it_takes_more_than_a_step():
    small, row = shapes("smollm2_135m"), replace(ROW, tokens=256, short_squares=2 * 128**2, samples=2, supervised=128)

    def of(**changes):
        return {term.name: term.bytes for term in terms(small, replace(SETUP, **changes), row, NOTHING)}

    found = of(checkpointing=True, product_bytes=4)
    made = found["4-bit weights"] + found["scales"] + found["not quantized"]
    assert sum(found.values()) == made + 2 * small.parameters + found["libraries"]
    assert "loading" not in of(checkpointing=True)  # in 16 bits the file's pages are counted anyway
    assert "loading" not in of(checkpointing=True, product_bytes=4, device="cuda")
    assert "loading" not in of(rank=None, bits=None)


def test_a_tied_embedding_cannot_be_kept_on_the_cpu_and_the_plan_knows_it():
    small, gpu = shapes("smollm2_135m"), replace(SETUP, device="cuda")
    assert total(terms(small, replace(gpu, embedding_on_cpu=True), ROW, NOTHING)) == total(
        terms(small, gpu, ROW, NOTHING)
    )


def held_bytes():
    """Of all tensors that there are."""
    gc.collect()
    found = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]  # isinstance asks lazy modules
    return sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in found}.values())


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_8_bit_layers_keep_their_inputs_in_spite_of_checkpointing():
    kept = {}
    for quant in ("nf4", "int8"):
        config = compose("train", ["model=tiny", "model.gradient_checkpointing=true", f"quant={quant}"])
        model = build(config.model)
        net = model.load(quant=build(config.quant), dtype=torch.bfloat16, device=torch.device("cpu"))
        adapter = lora(
            name="x", r=8, lora_alpha=8.0, lora_dropout=0.0, target_modules="all-linear", use_rslora=False,
            use_dora=False,
        )  # fmt: skip
        net = adapter.attach(net).train()
        before = held_bytes()
        _, out = saved_bytes(net.get_base_model(), 8, 64)
        kept[quant] = held_bytes() - before
        known = architecture_of(model)
        del net, out
    row = SequenceShape(tokens=512, samples=8, longest=64, short_squares=8 * 64**2, long_tokens=0, supervised=256)
    setup = replace(SETUP, bits=8, rank=8, checkpointing=True)
    planned = {term.name: term.bytes for term in terms(known, setup, row, NOTHING)}["8-bit inputs"]
    assert kept["int8"] - kept["nf4"] == pytest.approx(planned, rel=0.1)
