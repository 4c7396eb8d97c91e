"""Transient memory of a step: activations, attention, the loss, dequantized weights, one layer in the backward pass.

Legend: `T` tokens of the fullest packed sequence, `D` hidden width, `V` vocabulary, `N` supervised positions of the
row, `b` bytes of a product's type. The activations are those that hafs' own kernels keep for the backward pass
(`modeling/attention.py`, `modeling/loss.py`, `modeling/adapter/lora_forward.py`); `tests/planning/test_memory.py`
counts them in a real forward pass.
"""

from dataclasses import replace

from hafs.modeling.kernel_limits import GPU_LOSS_CHUNK_BYTES, LOSS_CHUNK_BYTES, SHORT
from hafs.planning.architecture import Architecture
from hafs.planning.memory.setup import Setup, Term, adapted_experts, total
from hafs.planning.workload import SequenceShape

OUTLIER_COLUMNS = 0.6
"""Share of an input's columns with an outlier (above 6, as in bitsandbytes) in some row of 1,024 tokens, SmolLM2."""


def kept_per_layer(shapes: Architecture, setup: Setup, row: SequenceShape) -> int:
    """Bytes of activations that one decoder layer keeps for its backward pass."""
    T, D, width = row.tokens, shapes.hidden, shapes.intermediate
    b, heads_d, groups_d = setup.product_bytes, shapes.heads * shapes.head_dim, shapes.kv_heads * shapes.head_dim
    norms = 2 * 4 * D + 2 * b * D if b == 2 else 2 * 2 * b * D  # float32 copies of what is normalized, and the result
    if _norms_are_fused(setup):
        norms = 3 * b * D  # the second one's input, and both results; the first one's input is kept with checkpointing
        norms += 0 if setup.checkpointing else b * D
    if setup.rank is None:  # norms are trained, too; autocast makes a copy for each product
        norms = 4 * 4 * D + 5 * b * D if b == 2 else 3 * 2 * b * D
    if shapes.norms_queries:
        norms += (4 if b == 2 and not _norms_are_fused(setup) else b) * (heads_d + groups_d)
    keys_d = groups_d if setup.flash or setup.device == "cpu" else heads_d
    attention = b * (heads_d + 2 * keys_d) + b * heads_d  # q, k, v; the attended, which is also the input of o_proj
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


def _norms_are_fused(setup: Setup) -> bool:
    """As `gpu_kernels.py` does it: no float32 copies."""
    return setup.device == "cuda" and setup.product_bytes == 2 and setup.rank is not None


def attention_per_layer(shapes: Architecture, setup: Setup, row: SequenceShape) -> int:
    """Probabilities of samples that take the explicit product, on a CPU; elsewhere only a sum for each query.

    On a CPU the samples of a row are attended to one by one, so the attended of a long one is held twice: its own
    backward pass keeps it, and so does the row that it becomes part of.
    """
    if setup.device != "cpu":
        return 4 * shapes.heads * row.tokens
    explicit = setup.product_bytes * shapes.heads * row.short_squares
    return int(explicit + row.long_tokens * shapes.heads * (4 + setup.product_bytes * shapes.head_dim))


def transient_terms(shapes: Architecture, setup: Setup, row: SequenceShape) -> list[Term]:
    """Activations of the forward pass, and the larger of the loss and one layer's backward pass."""
    loss = [Term(name="loss", bytes=_loss(shapes, setup, row), why=f"{row.supervised:,} positions in chunks")]
    backward = _of_a_layer(shapes, setup, row)
    if total(loss) > total(backward):
        backward = [_not_then(term, "the loss") for term in backward]
    else:
        loss = [_not_then(term, "a layer at work") for term in loss]
    return [*_of_all_layers(shapes, setup, row), *loss, *backward]


def _of_all_layers(shapes: Architecture, setup: Setup, row: SequenceShape) -> list[Term]:
    """Activations that the forward pass keeps for the backward pass."""
    T, b, layers = row.tokens, setup.product_bytes, shapes.layers
    if setup.checkpointing:
        kept, why = layers * T * shapes.hidden * b, f"{T:,} tokens: the input of each of {layers} layers"
    else:
        layer = kept_per_layer(shapes, setup, row)
        kept, why = layers * layer, f"{T:,} tokens x {layers} layers x {layer // T:,} bytes"
    inputs = _inputs_of_8_bits(shapes, setup, row)
    last = 2 * b if _norms_are_fused(setup) else 4 + b  # the last norm's input and result
    return [
        Term(name="activations", bytes=kept + T * shapes.hidden * last, why=why),
        *([Term(name="8-bit inputs", bytes=inputs, why=_inputs_why(setup))] if inputs else []),
        *([] if setup.checkpointing else [_attention(shapes, setup, row, layers)]),
        *_copies_of_experts(shapes, setup),
        *([_dequantization(shapes, setup)] if setup.rank is None else []),
    ]


def _copies_of_experts(shapes: Architecture, setup: Setup) -> list[Term]:
    """Experts with their adapter added, or unpacked: autograd keeps them; a layer at work has their gradient."""
    changed = setup.quantized_experts or any(leaf.kind == "experts" for leaf, _ in adapted_experts(shapes, setup))
    if not shapes.expert_parameters or setup.rank is None or not changed:
        return []
    layer = shapes.expert_parameters // max(leaf.times for leaf in shapes.of("experts")) * setup.product_bytes
    times = 2 if setup.checkpointing else 1 + max(leaf.times for leaf in shapes.of("experts"))
    how = "unpacked" if setup.quantized_experts else "with their adapter"
    kept = "one layer's, and their gradient" if setup.checkpointing else "every layer's: no gradient checkpointing"
    return [Term(name="copies of experts", bytes=times * layer, why=f"{how}, {kept}")]


def _of_a_layer(shapes: Architecture, setup: Setup, row: SequenceShape) -> list[Term]:
    """Memory of one layer in the backward pass."""
    again = Term(name="layer again", bytes=kept_per_layer(shapes, setup, row), why="activations of one layer")
    return [
        *([again, _attention(shapes, setup, row, 1)] if setup.checkpointing else []),
        *([] if setup.rank is None else [_dequantized_beside(shapes, setup, row)]),
        Term(name="layer at work", bytes=_at_work(shapes, setup, row), why="gradients inside one layer"),
    ]


def _attention(shapes: Architecture, setup: Setup, row: SequenceShape, layers: int) -> Term:
    kind = "probabilities" if setup.device == "cpu" else "one sum per query"
    size = layers * attention_per_layer(shapes, setup, row)
    return Term(name="attention", bytes=size, why=f"{kind}, samples of up to {row.longest:,} tokens")


def _dequantized_beside(shapes: Architecture, setup: Setup, row: SequenceShape) -> Term:
    """Unpacked weights on the way back. On a GPU they are gone before two of the three gradients of an MLP are made."""
    term = _dequantization(shapes, setup)
    if setup.device == "cpu":
        return term
    later = 2 * setup.product_bytes * row.tokens * shapes.intermediate
    return replace(term, bytes=max(0, term.bytes - later))


def _dequantization(shapes: Architecture, setup: Setup) -> Term:
    return Term(name="dequantization", bytes=_dequantized(shapes, setup), why=_dequantized_why(setup))


def _not_then(term: Term, larger: str) -> Term:
    """A term that does not count at the peak."""
    return replace(term, bytes=0, why=f"{term.why}: {term.bytes / 2**30:.2f} GiB, but not at the same time as {larger}")


def _inputs_of_8_bits(shapes: Architecture, setup: Setup, row: SequenceShape) -> int:
    """Memory that bitsandbytes' 8-bit product keeps outside autograd, where gradient checkpointing cannot free it.

    Its input, which other layers keep as well unless they are checkpointed, and on a GPU the columns of it in which
    some token is an outlier (in `bitsandbytes.autograd._functions`, `MatMul8bitFp` on a CPU and else `MatMul8bitLt`).
    """
    if setup.bits != 8:
        return 0
    columns = sum(leaf.times * leaf.weight[1] for leaf in shapes.of("linear")) if setup.device == "cuda" else 0
    distinct = shapes.layers * (2 * shapes.hidden + shapes.heads * shapes.head_dim + shapes.intermediate)
    whole = distinct if setup.checkpointing else 0
    return int(setup.product_bytes * row.tokens * (OUTLIER_COLUMNS * columns + whole))


def _inputs_why(setup: Setup) -> str:
    parts = ["inputs of 8-bit layers, which checkpointing does not free"] * setup.checkpointing
    parts += [f"columns with outliers, {OUTLIER_COLUMNS:.0%} of them as in SmolLM2"] * (setup.device == "cuda")
    return ", and ".join(parts)


def _loss(shapes: Architecture, setup: Setup, row: SequenceShape) -> int:
    chunk = min(row.supervised, _loss_chunk(shapes, setup))
    b = setup.product_bytes
    logits = chunk * shapes.vocab * (4 + b)
    hidden = 2 * row.supervised * shapes.hidden * b
    if setup.rank is not None:
        return logits + hidden
    return logits + hidden + shapes.vocab * shapes.hidden * (4 + 4 + b)  # the head's own gradient, summed in float32


def _loss_chunk(shapes: Architecture, setup: Setup) -> int:
    """Positions whose logits are in memory together."""
    return max(1, LOSS_CHUNK_BYTES.get(setup.device, GPU_LOSS_CHUNK_BYTES) // (4 * shapes.vocab))


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
    return "the largest layer's weights, dequantized for a product" if setup.bits else "nothing is quantized"


def _at_work(shapes: Architecture, setup: Setup, row: SequenceShape) -> int:
    b, T = setup.product_bytes, row.tokens
    inside = T * b * (3 * shapes.intermediate + 4 * shapes.hidden)
    if _norms_are_fused(setup):
        inside = T * b * (3 * shapes.intermediate + 2 * shapes.hidden)
    if setup.device == "cpu":
        explicit = min(row.longest, SHORT)  # scores in float32, weights and their gradients
        inside = max(inside, shapes.heads * explicit * explicit * (4 + 2 * b) + T * b * 4 * shapes.hidden)
    return inside
