"""Resident memory, from the first step to the last: weights and scales, adapter, gradients, optimizer."""

import math

from hafs.planning.architecture import Architecture
from hafs.planning.memory.setup import Setup, Term, adapted, adapted_experts, trained_parameters

BLOCK, OUTER_BLOCK = 64, 256
"""Weights per scale, and scales per outer scale, in bitsandbytes' 4-bit formats."""
BLOCKWISE_FROM = 4096
"""bitsandbytes keeps states of smaller tensors in 32 bits."""
RECLAIMED = "weights file"
"""Pages of a mapped file; the system reclaims them when memory is short."""


def weights(shapes: Architecture, setup: Setup) -> list[Term]:
    """The base model: quantized layers with their scales, and unquantized weights."""
    linear, kept = shapes.linear_parameters, shapes.kept_parameters
    master = 4 if setup.rank is None else setup.product_bytes
    experts, held = shapes.expert_parameters, []
    if experts and setup.quantized_experts:
        linear, kept = linear + experts, kept - experts
    elif experts:
        kept -= experts
        held = [Term(name="experts", bytes=experts * master, why=_experts_why(experts, master, setup))]
    on_cpu = setup.embedding_on_cpu and setup.device != "cpu" and not shapes.tied
    if on_cpu:
        kept -= shapes.embedding_parameters
    rest = Term(
        name="not quantized" if setup.bits else "embeddings, head, norms",
        bytes=kept * master,
        why=f"{'' if on_cpu else 'embedding, '}head, norms, biases: {kept:,} x {master} bytes"
        + (", the embedding in CPU memory" if on_cpu else ""),
    )
    if setup.bits is None:
        return [Term(name="linear layers", bytes=linear * master, why=f"{linear:,} x {master} bytes"), *held, rest]
    mapped = []
    if setup.device == "cpu" and setup.product_bytes == 2:  # mapped while a tensor uses it unchanged
        mapped = [Term(name=RECLAIMED, bytes=2 * linear, why="the 16-bit weights, mapped")]
    name = f"{setup.bits}-bit weights"
    return [
        Term(name=name, bytes=linear * setup.bits // 8, why=f"{linear:,} parameters of {_what(setup, shapes)}"),
        Term(name="scales", bytes=_scales(shapes, setup), why=_scales_why(setup)),
        *mapped,
        *held,
        rest,
    ]


def _what(setup: Setup, shapes: Architecture) -> str:
    return "linear layers and experts" if setup.quantized_experts and shapes.expert_parameters else "the linear layers"


def _experts_why(experts: int, size: int, setup: Setup) -> str:
    said = f"{experts:,} x {size} bytes"
    if setup.bits == 4:
        return f"{said}: tensors of experts, which +quant.experts=true quantizes too"
    return f"{said}: tensors of experts, which 8 bits leave alone" if setup.bits else said


def _scales(shapes: Architecture, setup: Setup) -> int:
    total = 0
    quantized = shapes.of("linear", "tower", *(("experts",) if setup.quantized_experts else ()))
    for leaf in quantized:
        if setup.bits == 8:
            total += leaf.times * leaf.weight[0] * 4
            continue
        blocks = math.ceil(leaf.elements / BLOCK)
        outer = math.ceil(blocks / OUTER_BLOCK) * 4 + 256 * 4 + 4
        total += leaf.times * ((blocks + outer if setup.double else 4 * blocks) + 16 * 4)
    return total


def _scales_why(setup: Setup) -> str:
    if setup.bits == 8:
        return "a float32 per row"
    if setup.double:
        return f"a byte per {BLOCK} weights, a float32 per {OUTER_BLOCK} of those"
    return f"a float32 per {BLOCK} weights"


def trained(shapes: Architecture, setup: Setup) -> list[Term]:
    """The trained parameters, their gradients and the optimizer's states."""
    count = trained_parameters(shapes, setup)
    gradients = Term(name="gradients", bytes=4 * count, why=f"{count:,} x 4 bytes")
    states = _states(shapes, setup)
    why = "two 8-bit states" if setup.eight_bit_optimizer else "two float32 states"
    optimizer = Term(name="optimizer", bytes=states, why=why)
    if setup.rank is None:
        return [gradients, optimizer]
    each = 6 if setup.device == "cuda" and setup.product_bytes == 2 else 4
    copy = ", a 16-bit copy for products included" if each == 6 else ""
    adapter = Term(name="adapter", bytes=each * count, why=f"rank {setup.rank}: {count:,} x {each} bytes{copy}")
    return [adapter, gradients, optimizer]


def _states(shapes: Architecture, setup: Setup) -> int:
    if not setup.eight_bit_optimizer:
        return 8 * trained_parameters(shapes, setup)
    sizes: list[tuple[int, int]] = []
    for leaf in shapes.leaves if setup.rank is None else adapted(shapes, setup):
        parts = [leaf.elements] if setup.rank is None else [setup.rank * size for size in leaf.weight]
        sizes += [(size, leaf.times) for size in parts]
    sizes += [(setup.rank * elements, leaf.times) for leaf, elements in adapted_experts(shapes, setup) if setup.rank]
    return sum(times * (2 * n + 8 * math.ceil(n / 256) if n >= BLOCKWISE_FROM else 8 * n) for n, times in sizes)
