"""Peak memory of a training step as a sum of terms, each computed from exact shapes.

resident   weights, scales, adapter, gradients, optimizer: from the first step to the last
transient  activations, loss, unpacked weights: they come and go with each packed sequence
here       what the allocator keeps beyond them, and the libraries or the driver
"""

from collections.abc import Sequence

from hafs.planning.architecture import Architecture
from hafs.planning.memory.resident import RECLAIMED, trained, weights
from hafs.planning.memory.setup import Constants, Setup, Term, adapted, adapted_experts, total, trained_parameters
from hafs.planning.memory.transient import attention_per_layer, kept_per_layer, transient_terms
from hafs.planning.workload import SequenceShape

__all__ = [
    "Constants", "Setup", "Term", "adapted", "adapted_experts", "attention_per_layer", "kept_per_layer", "staying",
    "terms", "total", "trained_parameters",
]  # fmt: skip

COMES_AND_GOES = (
    "activations", "8-bit inputs", "attention", "copies of experts", "loss", "layer again", "dequantization",
    "layer at work",
)  # fmt: skip
OVERHEAD = ("allocator's slack", "heap", "CUDA context", "driver", "libraries", "loading")
ADAPTER_LIBRARIES = 35 * 2**20
"""Memory of PEFT and bitsandbytes in the process."""
FOR_16_BITS = 40 * 2**20
"""Memory of oneDNN, which computes 16-bit products on a CPU."""
RAGGED_SLACK = 0.07
"""More slack in 16 bits when sequences differ in length: kernels per length (`base_model.KERNELS`), fragmentation."""


def terms(shapes: Architecture, setup: Setup, row: SequenceShape, constants: Constants) -> list[Term]:
    """The terms of a training step's peak memory."""
    moving = transient_terms(shapes, setup, row)
    stays = [*weights(shapes, setup), *trained(shapes, setup)]
    if setup.device == "cpu":
        libraries = _libraries(setup, constants)
        parts = [*stays, *moving, _heap(shapes, setup, row, moving, constants), libraries]
        return [*parts, *_loading(shapes, setup, parts, libraries)]
    slack = int(constants.slack * total(moving))
    name = "CUDA context" if setup.device == "cuda" else "driver"
    return [
        *stays,
        *moving,
        Term(name="allocator's slack", bytes=slack, why=f"{constants.slack:.0%} of the transient memory"),
        Term(name=name, bytes=constants.context_bytes, why=constants.source),
    ]


def staying(parts: Sequence[Term]) -> int:
    """Bytes that stay allocated from the first step to the last, without libraries and mapped files."""
    return sum(part.bytes for part in parts if part.name not in (*COMES_AND_GOES, *OVERHEAD, RECLAIMED))


def _libraries(setup: Setup, constants: Constants) -> Term:
    more = 0 if setup.rank is None and setup.bits is None else ADAPTER_LIBRARIES
    more -= 0 if setup.product_bytes == 2 else FOR_16_BITS
    return Term(name="libraries", bytes=constants.context_bytes + more, why=constants.source)


def _heap(shapes: Architecture, setup: Setup, row: SequenceShape, moving: Sequence[Term], constants: Constants) -> Term:
    """What malloc keeps in fragments where it is tuned as in `malloc_tuning.py`: see docs/explanation/planning.md.

    With checkpointing a layer's memory lies free while the loss is at work, which does not fit into its pieces.
    """
    slack = constants.slack + (RAGGED_SLACK if row.ragged and setup.product_bytes == 2 else 0)
    holes = slack * total(moving)
    holes += kept_per_layer(shapes, setup, row) if setup.checkpointing else 0
    return Term(name="heap", bytes=int(holes), why="memory that the C library's allocator fragments")


def _loading(shapes: Architecture, setup: Setup, parts: Sequence[Term], libraries: Term) -> list[Term]:
    """Memory that loading the weights needs beyond a step: the mapped file beside the loaded weights."""
    if setup.product_bytes == 2 and setup.rank is not None:
        return []  # they stay, and are counted
    file = 2 * shapes.parameters
    more = total([*weights(shapes, setup), libraries]) + file - total(parts)
    why = f"loading needs more than a step: {file / 2**30:.2f} GiB of the file beside the weights"
    return [Term(name="loading", bytes=more, why=why)] if more > 0 else []
