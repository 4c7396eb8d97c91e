"""How long a run takes: counted FLOPs and bytes, the hardware's rates, and a stated efficiency with its range.

Legend as in `memory.py`. A product with a `[out, in]` weight costs `2 x out x in` FLOPs per token; a frozen weight
needs two products per token in training (forward, gradient of the input), a trained one three.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hafs.modeling.hardware import Hardware
from hafs.planning.architecture import Architecture
from hafs.planning.memory import Setup, adapted, trained_parameters
from hafs.planning.workload import Workload

if TYPE_CHECKING:
    from hafs.training.stage import Stage

START = {"cpu": 12.0, "cuda": 25.0, "mps": 20.0}
"""Seconds before the first step that do not depend on the model: libraries, data, the driver."""
LOADING = 0.5e9
"""Bytes of weights that are read and quantized per second."""


SAVING = 0.2e9
"""Bytes of a checkpoint per second, written and flushed to disk."""


@dataclass(frozen=True, kw_only=True)
class BetweenSteps:
    """What a run does between steps: answers that it generates, and checkpoints."""

    answers: int
    """Generated before the first stage and after each."""
    max_new_tokens: int
    epoch_answers: int = 0
    """Generated after each epoch but a stage's last."""
    epoch_tokens: int = 0
    """Longest of those."""
    save_every: int | None = None
    """Steps between two checkpoints; None: only at the end of each epoch."""


@dataclass(frozen=True, kw_only=True)
class Duration:
    """The best, usual and worst duration of a run in seconds, and its parts."""

    best: float
    usual: float
    worst: float
    parts: Mapping[str, float]
    """Of the usual duration: start, training, measuring, answering, saving."""
    tokens: int
    """Trained, over all stages and epochs."""
    steps: int
    flops: float
    """Of training."""
    tokens_per_second: float
    """In training, for the usual duration."""


def flops_per_token(shapes: Architecture, setup: Setup, load: Workload) -> float:
    """FLOPs per token of training, averaged over all tokens, supervised or not."""
    full, again = setup.rank is None, setup.checkpointing
    linear = shapes.worked_parameters * ((6 if full else 4) + (2 if again else 0))
    branch = 0
    if not full:
        low_rank = sum(leaf.times * (setup.rank or 0) * sum(leaf.weight) for leaf in adapted(shapes, setup))
        branch = low_rank * (6 + 2 * again)
    attention = attention_flops(shapes, setup, load) * (3 + again)
    head = load.supervised * shapes.vocab * shapes.hidden * (6 if full else 4)
    return linear + branch + attention + head


def attention_flops(shapes: Architecture, setup: Setup, load: Workload) -> float:
    """Per token of one forward pass: scores and their sum, over the part of the sample that is seen."""
    seen = load.squares / load.tokens  # mean length of a token's sample
    causal = 1.0 if setup.device == "cpu" else 0.5  # the explicit product also computes what the mask hides
    return 4 * seen * causal * shapes.heads * shapes.head_dim * shapes.layers


def evaluation_flops_per_token(shapes: Architecture, setup: Setup, load: Workload) -> float:
    """Per token of one forward pass."""
    head = load.supervised * shapes.vocab * shapes.hidden * 2
    return 2 * shapes.worked_parameters + attention_flops(shapes, setup, load) + head


def estimate(
    shapes: Architecture,
    setup: Setup,
    load: Workload,
    stages: "Sequence[Stage]",
    hardware: Hardware,
    *,
    micro_batch_tokens: int,
    between: BetweenSteps,
) -> Duration:
    """How long all stages take, with validations, answers and checkpoints."""
    rate = hardware.rate(setup.product_bytes)
    low, usual, high = hardware.efficiency
    tokens = sum(stage.drawn(load.train) * stage.epochs for stage in stages) * load.tokens
    steps = sum(stage.steps(load.train) for stage in stages)
    evaluations = 1 + sum(stage.epochs if stage.validation == "epoch" else 1 for stage in stages)
    held_out = load.val * load.tokens * evaluations
    compared = sum(stage.drawn(load.train) * stage.epochs for stage in stages if stage.needs_reference) * load.tokens
    flops = tokens * flops_per_token(shapes, setup, load) + compared * evaluation_flops_per_token(shapes, setup, load)
    checked = held_out * evaluation_flops_per_token(shapes, setup, load)
    unpacking = unpacking_per_token(shapes, setup, hardware, micro_batch_tokens) * tokens
    once = _moved_per_pass(shapes, setup) / hardware.bandwidth * held_out / micro_batch_tokens
    overhead = unpacking + once + steps * _update_bytes(shapes, setup) / hardware.bandwidth
    answering = _answering(shapes, setup, hardware, between, stages)
    saving = _saving(shapes, setup, between, stages, steps)
    start = START[setup.device] + _stored(shapes, setup) / LOADING
    fixed = start + overhead + answering + saving
    parts = {
        "start": start,
        "training": flops / rate / usual + unpacking,
        "measuring": checked / rate / usual + once,
        "answering": answering,
        "saving": saving,
    }
    work = (flops + checked) / rate
    return Duration(
        best=work / high + fixed,
        usual=work / usual + fixed,
        worst=work / low + fixed,
        parts=parts,
        tokens=round(tokens),
        steps=steps,
        flops=flops,
        tokens_per_second=tokens / max(parts["training"], 1e-9),
    )


def unpacking_per_token(shapes: Architecture, setup: Setup, hardware: Hardware, micro_batch_tokens: int) -> float:
    """Seconds that unpacking the quantized weights takes in training, shared by the tokens of a row."""
    passes = 3 if setup.checkpointing else 2
    return passes * _moved_per_pass(shapes, setup) / hardware.bandwidth / micro_batch_tokens


def _stored(shapes: Architecture, setup: Setup) -> float:
    """Bytes of the weights as they are read: 16 bits each."""
    return 2.0 * shapes.parameters


def _moved_per_pass(shapes: Architecture, setup: Setup) -> float:
    """Bytes that unpacking the quantized weights for one pass reads and writes."""
    if setup.bits is None:
        return 0.0
    return shapes.linear_parameters * (setup.bits / 8 + 2 * setup.product_bytes)


def _update_bytes(shapes: Architecture, setup: Setup) -> float:
    """Bytes that one optimizer step reads and writes."""
    return trained_parameters(shapes, setup) * (16 if setup.eight_bit_optimizer else 28)


def _answering(
    shapes: Architecture, setup: Setup, hardware: Hardware, between: BetweenSteps, stages: "Sequence[Stage]"
) -> float:
    """Each decoding step reads all weights once, for 16 concurrent answers."""
    steps = math.ceil(between.answers / 16) * between.max_new_tokens * (1 + len(stages))
    epochs = sum(stage.epochs - 1 for stage in stages)
    steps += math.ceil(between.epoch_answers / 16) * between.epoch_tokens * epochs
    stored = shapes.linear_parameters * ((setup.bits or 8 * setup.product_bytes) / 8)
    return steps * (stored + _moved_per_pass(shapes, setup) + 2 * shapes.vocab * shapes.hidden) / hardware.bandwidth


def _saving(shapes: Architecture, setup: Setup, between: BetweenSteps, stages: "Sequence[Stage]", steps: int) -> float:
    """Parameters and the optimizer's moments, at the end of each epoch, every `save_every` steps, and once to try."""
    saves = 1 + sum(stage.epochs for stage in stages) + steps // (between.save_every or steps + 1)
    return saves * trained_parameters(shapes, setup) * (6 if setup.eight_bit_optimizer else 12) / SAVING
