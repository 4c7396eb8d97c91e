"""The longest sample that fits on a GPU; the manual lists it for the shipped models."""

from hafs.modeling.hardware import Hardware
from hafs.planning.architecture import Architecture
from hafs.planning.memory import Constants, Setup, terms, total
from hafs.planning.plan import HEADROOM
from hafs.planning.workload import SequenceShape

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
"""Tokens that are tried."""


def longest_sample(shapes: Architecture, setup: Setup, hardware: Hardware, constants: Constants) -> int | None:
    """Tokens of the longest sample that can be trained on, half of them supervised; None where none of them can."""
    room = (1 - HEADROOM) * hardware.memory_bytes
    fit = [length for length in LENGTHS if total(terms(shapes, setup, _alone(length), constants)) <= room]
    return max(fit, default=None)


def _alone(tokens: int) -> SequenceShape:
    return SequenceShape(
        tokens=tokens, samples=1, longest=tokens, short_squares=0, long_tokens=tokens, supervised=tokens // 2
    )
