"""Where every byte goes: the terms of a training step's peak, each a function of exact shapes.

held       weights, scales, adapter, gradients, optimizer: from the first step to the last
passing    activations, loss, unpacked weights: they come and go with each row
here       what the allocator keeps beyond them, and the libraries or the driver
"""

import math
from collections.abc import Sequence

from hafs.planning.architecture import Architecture
from hafs.planning.memory.held import RECLAIMED, trained, weights
from hafs.planning.memory.passing import attention_a_layer, kept_a_layer, loss_chunk, passing
from hafs.planning.memory.setup import Constants, Setup, Term, adapted, trained_parameters
from hafs.planning.workload import Row

__all__ = [
    "Constants", "Setup", "Term", "adapted", "attention_a_layer", "kept_a_layer", "staying", "terms", "total",
    "trained_parameters",
]  # fmt: skip

COMES_AND_GOES = ("activations", "attention", "loss", "dequantization", "layer at work")
OVERHEAD = ("allocator's slack", "heap", "CUDA context", "driver", "libraries")
ADAPTER_LIBRARIES = 100 * 2**20
"""PEFT and bitsandbytes in a process' memory."""
LEFT_BY_LOADING = 1.3
"""Share of the 16-bit weights that quantizing them on a CPU leaves in the heap; measured, docs/planning.md."""


def terms(shapes: Architecture, setup: Setup, row: Row, constants: Constants) -> list[Term]:
    """The peak of a training step, part by part."""
    moving = passing(shapes, setup, row)
    stays = [*weights(shapes, setup), *trained(shapes, setup)]
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
    chunks = math.ceil(row.supervised / loss_chunk(shapes, setup))
    holes = constants.slack * found["activations"] + min(2.4, max(0.3, 0.7 * chunks - 1.1)) * found["loss"]
    if setup.bits is not None:
        holes = max(holes, LEFT_BY_LOADING * 2 * shapes.parameters + found["loss"] - sum(found.values()))
    return Term(name="heap", bytes=int(holes), why="pages between the holes of the C library's allocator")


def total(parts: Sequence[Term]) -> int:
    """Of all terms."""
    return sum(part.bytes for part in parts)
