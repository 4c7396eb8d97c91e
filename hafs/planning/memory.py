"""Where every byte goes: the terms of a training step's peak, each a function of exact shapes.

Legend: `T` tokens of the fullest row, `D` hidden width, `I` intermediate width, `H`/`G` query and key-value heads, `d`
head width, `V` vocabulary, `N` supervised positions of the row, `b` bytes of a product's type.

The activations are those that hafs' own kernels keep for the backward pass (`model/attention.py`, `model/loss.py`,
`adapter/branch.py`); `tests/planning/test_memory.py` counts them in a real forward pass.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hafs.planning.architecture import Architecture, Leaf
from hafs.planning.workload import Row

MIB = 2**20
BLOCK, OUTER_BLOCK = 64, 256
"""Weights under one scale, and scales under one outer scale, in bitsandbytes' 4-bit form."""
BLOCKWISE_FROM = 4096
"""bitsandbytes keeps states of smaller tensors in 32 bits."""
SHORT = 512
"""Samples up to this length take the explicit product on a CPU (`model/causal.py`)."""
COMES_AND_GOES = ("activations", "attention", "loss", "dequantization", "layer at work")
OVERHEAD = ("allocator's slack", "heap", "CUDA context", "driver", "libraries")
RECLAIMED = "weights file"
"""Pages of a file: resident while nobody else asks for memory, and given back when somebody does."""
ADAPTER_LIBRARIES = 100 * MIB
"""PEFT and bitsandbytes in a process' memory."""
LEFT_BY_LOADING = 1.3
"""Share of the 16-bit weights that quantizing them on a CPU leaves in the heap; measured, docs/planning.md."""
LOSS_CHUNK = {"cpu": 32 * MIB}
GPU_LOSS_CHUNK = 512 * MIB


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What of a configuration decides about memory and time."""

    bits: Literal[4, 8] | None
    """Of the quantized linear layers; None: not quantized."""
    double: bool
    """Whether the scales are quantized too."""
    rank: int | None
    """Of the adapter; None: every weight is trained."""
    targets: str | tuple[str, ...]
    """The adapter's target modules, as PEFT takes them."""
    dora: bool
    dropout: float
    eight_bit_optimizer: bool
    checkpointing: bool
    embedding_on_cpu: bool
    product_bytes: Literal[2, 4]
    """Of the type that products are computed in."""
    device: Literal["cuda", "mps", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A part of the peak."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What no formula gives: measured by `hafs plan calibrate`, else these."""

    context_bytes: int
    """Of the driver on a GPU; of the interpreter and its libraries on a CPU."""
    slack: float
    """What the allocator holds beyond what is asked for, as a share of everything that comes and goes."""
    source: str


def adapted(shapes: Architecture, setup: Setup) -> list[Leaf]:
    """The linear layers that get an adapter."""
    linear = shapes.of("linear")
    if setup.targets == "all-linear":
        return linear
    if isinstance(setup.targets, str):
        return [leaf for leaf in linear if re.fullmatch(setup.targets, leaf.name.replace("*", "0"))]
    return [leaf for leaf in linear if leaf.name.rsplit(".", 1)[-1] in setup.targets]


def trained_parameters(shapes: Architecture, setup: Setup) -> int:
    """How many parameters the optimizer changes."""
    if setup.rank is None:
        return shapes.parameters
    return sum(
        leaf.times * (setup.rank * sum(leaf.weight) + (leaf.weight[0] if setup.dora else 0))
        for leaf in adapted(shapes, setup)
    )


def terms(shapes: Architecture, setup: Setup, row: Row, constants: Constants) -> list[Term]:
    """The peak of a training step, part by part."""
    moving = _transient(shapes, setup, row)
    stays = [*_weights(shapes, setup), *_trained(shapes, setup)]
    if setup.device == "cpu":
        return [*stays, *moving, _heap(shapes, setup, row, moving, constants), _libraries(setup, constants)]
    slack = int(constants.slack * sum(term.bytes for term in moving))
    name = "CUDA context" if setup.device == "cuda" else "driver"
    return [
        *stays,
        *moving,
        Term(name="allocator's slack", bytes=slack, why=f"{constants.slack:.0%} of what comes and goes"),
        Term(name=name, bytes=constants.context_bytes, why=constants.source),
    ]


def staying(parts: Sequence[Term]) -> int:
    """Bytes that are held from the first step to the last, libraries and pages of files left out."""
    return sum(part.bytes for part in parts if part.name not in (*COMES_AND_GOES, *OVERHEAD, RECLAIMED))


def _libraries(setup: Setup, constants: Constants) -> Term:
    more = 0 if setup.rank is None and setup.bits is None else ADAPTER_LIBRARIES
    return Term(name="libraries", bytes=constants.context_bytes + more, why=constants.source)


def _heap(shapes: Architecture, setup: Setup, row: Row, moving: Sequence[Term], constants: Constants) -> Term:
    """What the C library's heap keeps between its holes.

    Activations of one row do not fit exactly where those of the last one were; each chunk of the loss leaves pages
    behind; and what loading a quantized model left is used again, so it only shows where little else is needed.
    """
    found = {term.name: term.bytes for term in moving}
    chunks = math.ceil(row.supervised / _chunk(shapes, setup))
    holes = constants.slack * found["activations"] + min(2.4, max(0.3, 0.7 * chunks - 1.1)) * found["loss"]
    if setup.bits is not None:
        holes = max(holes, LEFT_BY_LOADING * 2 * shapes.parameters + found["loss"] - sum(found.values()))
    return Term(name="heap", bytes=int(holes), why="pages between the holes of the C library's allocator")


# what stays ------------------------------------------------------------------------------------------------------


def _weights(shapes: Architecture, setup: Setup) -> list[Term]:
    linear, kept = shapes.linear_parameters, shapes.kept_parameters
    master = 4 if setup.rank is None else setup.product_bytes
    on_cpu = setup.embedding_on_cpu and setup.device != "cpu" and not shapes.tied
    if on_cpu:
        kept -= shapes.embedding_parameters
    rest = Term(
        name="kept in full" if setup.bits else "embeddings, head, norms",
        bytes=kept * master,
        why=f"{'' if on_cpu else 'embedding, '}head, norms, biases: {kept:,} x {master} bytes"
        + (", the embedding in CPU memory" if on_cpu else ""),
    )
    if setup.bits is None:
        return [Term(name="linear layers", bytes=linear * master, why=f"{linear:,} x {master} bytes"), rest]
    mapped = []
    if setup.device == "cpu":  # the file stays mapped as long as a tensor that was not quantized lies in it
        mapped = [Term(name=RECLAIMED, bytes=2 * linear, why="the 16-bit weights, mapped")]
    name = f"{setup.bits}-bit weights"
    return [
        Term(name=name, bytes=linear * setup.bits // 8, why=f"{linear:,} parameters of the linear layers"),
        Term(name="scales", bytes=_scales(shapes, setup), why=_scales_why(setup)),
        *mapped,
        rest,
    ]


def _scales(shapes: Architecture, setup: Setup) -> int:
    total = 0
    for leaf in shapes.of("linear"):
        if setup.bits == 8:
            total += leaf.times * leaf.weight[0] * 4
            continue
        blocks = math.ceil(leaf.elements / BLOCK)
        outer = math.ceil(blocks / OUTER_BLOCK) * 4 + 256 * 4 + 4
        total += leaf.times * ((blocks + outer if setup.double else 4 * blocks) + 16 * 4)
    return total


def _scales_why(setup: Setup) -> str:
    if setup.bits == 8:
        return "a float32 a row"
    if setup.double:
        return f"a byte for each {BLOCK} weights, a float32 for each {OUTER_BLOCK} of those"
    return f"a float32 for each {BLOCK} weights"


def _trained(shapes: Architecture, setup: Setup) -> list[Term]:
    count = trained_parameters(shapes, setup)
    gradients = Term(name="gradients", bytes=4 * count, why=f"{count:,} x 4 bytes")
    states = _states(shapes, setup)
    why = "two 8-bit states" if setup.eight_bit_optimizer else "two float32 states"
    optimizer = Term(name="optimizer", bytes=states, why=why)
    if setup.rank is None:
        return [gradients, optimizer]
    adapter = Term(name="adapter", bytes=4 * count, why=f"rank {setup.rank}: {count:,} x 4 bytes")
    return [adapter, gradients, optimizer]


def _states(shapes: Architecture, setup: Setup) -> int:
    if not setup.eight_bit_optimizer:
        return 8 * trained_parameters(shapes, setup)
    sizes: list[tuple[int, int]] = []
    for leaf in shapes.leaves if setup.rank is None else adapted(shapes, setup):
        parts = [leaf.elements] if setup.rank is None else [setup.rank * size for size in leaf.weight]
        sizes += [(size, leaf.times) for size in parts]
    return sum(times * (2 * n + 8 * math.ceil(n / 256) if n >= BLOCKWISE_FROM else 8 * n) for n, times in sizes)


# what comes and goes ---------------------------------------------------------------------------------------------


def kept_a_layer(shapes: Architecture, setup: Setup, row: Row) -> int:
    """Bytes that one decoder layer keeps for its backward pass."""
    T, D, width = row.tokens, shapes.hidden, shapes.intermediate
    b, heads_d, groups_d = setup.product_bytes, shapes.heads * shapes.head_dim, shapes.kv_heads * shapes.head_dim
    norms = 2 * 4 * D + 2 * b * D if b == 2 else 2 * 2 * b * D  # float32 copies of what is normalized, and the result
    if shapes.norms_queries:
        norms += (4 if b == 2 else b) * (heads_d + groups_d)
    attention = b * (heads_d + 2 * groups_d) + b * heads_d  # q, k, v; the attended, which is also the input of o_proj
    mlp = 4 * b * width  # gate, its activation, up, their product
    low_rank = b * (setup.rank or 0) * 7
    if setup.dropout:
        low_rank += (1 + b) * (5 * D + heads_d + width)  # masks and dropped inputs, one of each a layer
    if setup.rank is None and b == 2:
        low_rank = 0
    kept = T * (norms + attention + mlp + low_rank)
    if setup.dora:
        kept += T * b * 2 * (heads_d + 2 * groups_d + 2 * D + 2 * width)
    return int(kept)


def attention_a_layer(shapes: Architecture, setup: Setup, row: Row) -> int:
    """Probabilities, where the attention keeps them: on a CPU; elsewhere only a sum for each query."""
    if setup.device != "cpu":
        return 4 * shapes.heads * row.tokens
    return int(setup.product_bytes * shapes.heads * row.squares)


def _transient(shapes: Architecture, setup: Setup, row: Row) -> list[Term]:
    """Activations, the loss, and what one layer needs while it is at work."""
    T, b, layers = row.tokens, setup.product_bytes, shapes.layers
    layer = kept_a_layer(shapes, setup, row)
    if setup.checkpointing:
        kept = layers * T * shapes.hidden * b + layer
        why = f"{T:,} tokens: the input of each of {layers} layers, and one layer computed again"
    else:
        kept = layers * layer
        why = f"{T:,} tokens x {layers} layers x {layer // T:,} bytes"
    kept += T * shapes.hidden * (4 + b)
    scores = attention_a_layer(shapes, setup, row) * (1 if setup.checkpointing else layers)
    kind = "probabilities" if setup.device == "cpu" else "a sum for each query"
    return [
        Term(name="activations", bytes=kept, why=why),
        Term(name="attention", bytes=scores, why=f"{kind}, samples of up to {row.longest:,} tokens"),
        Term(name="loss", bytes=_loss(shapes, setup, row), why=f"{row.supervised:,} positions in chunks"),
        Term(name="dequantization", bytes=_dequantized(shapes, setup), why=_dequantized_why(setup)),
        Term(name="layer at work", bytes=_at_work(shapes, setup, row), why="gradients inside one layer"),
    ]


def _loss(shapes: Architecture, setup: Setup, row: Row) -> int:
    chunk = min(row.supervised, _chunk(shapes, setup))
    b = setup.product_bytes
    logits = chunk * shapes.vocab * (4 + b + (4 if setup.device == "cpu" and b == 2 else 0))
    hidden = 2 * row.supervised * shapes.hidden * b
    if setup.rank is not None:
        return logits + hidden
    return logits + hidden + shapes.vocab * shapes.hidden * (4 + 4 + b)  # the head's own gradient, summed in float32


def _chunk(shapes: Architecture, setup: Setup) -> int:
    """Positions whose logits are held at once."""
    return max(1, LOSS_CHUNK.get(setup.device, GPU_LOSS_CHUNK) // (4 * shapes.vocab))


def _dequantized(shapes: Architecture, setup: Setup) -> int:
    b = setup.product_bytes
    if setup.rank is None:
        return shapes.linear_parameters * b if b == 2 else 0
    if setup.bits is None:
        return 0
    return max(leaf.elements for leaf in shapes.of("linear")) * b


def _dequantized_why(setup: Setup) -> str:
    if setup.rank is None:
        return "16-bit copies of the weights, for products" if setup.product_bytes == 2 else "nothing is quantized"
    return "the largest layer's weights, unpacked for a product" if setup.bits else "nothing is quantized"


def _at_work(shapes: Architecture, setup: Setup, row: Row) -> int:
    b, T = setup.product_bytes, row.tokens
    inside = T * b * (3 * shapes.intermediate + 4 * shapes.hidden)
    if setup.device == "cpu":
        wide = 4 + 2 * b if row.longest <= SHORT else 2 * b  # the explicit product scores in float32
        inside = max(inside, shapes.heads * row.longest * row.longest * wide + T * b * 4 * shapes.hidden)
    return inside


def total(parts: Sequence[Term]) -> int:
    """Of all terms."""
    return sum(part.bytes for part in parts)
