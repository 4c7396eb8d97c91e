"""The likelihood of given answers under a model: the loss of each sample, many samples per forward pass.

Legend: `T` tokens of a packed sequence, `N` supervised positions, `D` hidden width, `V` vocabulary.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from hafs.core.errors import HafsError
from hafs.data.samples import Sample
from hafs.modeling import model_parts, out_of_memory
from hafs.modeling.loss import token_loss
from hafs.modeling.packing import pack, packed_sequence, supervised_states


class Likelihood(NamedTuple):
    """One sample under one model; sums, so that those of many samples add up."""

    nats: float
    """Negative log likelihood of the supervised tokens."""
    tokens: int
    """Supervised tokens; a sample's very first token is never predicted, so never counted."""
    correct: int
    """Supervised tokens that were the most likely one."""


@torch.no_grad()
def likelihoods(net: Any, samples: Sequence[Sample], *, micro_batch_tokens: int) -> list[Likelihood]:
    """The likelihood of each sample, in their order.

    Args:
        net: A causal language model set for inference, possibly wrapped by PEFT.
        samples: Token ids and which of them count.
        micro_batch_tokens: Tokens of one forward pass; halved if memory runs out.

    Raises:
        HafsError: A single sample does not fit in memory.
    """
    found: dict[int, Likelihood] = {}
    waiting = pack([len(sample.tokens) for sample in samples], micro_batch_tokens)
    while waiting:
        group = waiting.pop()
        measured = _within_memory(net, [samples[i] for i in group])
        if measured is None:
            waiting += [group[: len(group) // 2], group[len(group) // 2 :]]
        else:
            found |= dict(zip(group, measured, strict=True))
    return [found[i] for i in range(len(samples))]


def _within_memory(net: Any, samples: Sequence[Sample]) -> list[Likelihood] | None:
    """The likelihood of each sample of one packed sequence; None if memory ran out and the sequence can be halved."""
    try:
        return _of_row(net, samples)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory.is_out_of_memory(error):
            raise
        if len(samples) == 1:
            fact = f"out of memory with a single sample of {len(samples[0].tokens)} tokens"
            raise HafsError(fact, hint="use a smaller model, or quant=nf4 in the run") from None
    out_of_memory.free_cache()  # outside the handler: the error keeps the failed tensors alive
    return None


def _of_row(net: Any, samples: Sequence[Sample]) -> list[Likelihood]:
    packed = packed_sequence(samples)
    ends = np.searchsorted(packed.predicts_N.numpy(), packed.borders).tolist()
    packed = packed.to(model_parts.device_of(net))
    hidden_ND, head = supervised_states(net, packed)
    hidden_ND = hidden_ND.to(head.weight_VD.dtype)
    losses = [token_loss(hidden_ND[i:j], head, packed.target_N[i:j]) for i, j in pairwise(ends)]
    return [
        Likelihood(float(loss.nats), j - i, int(loss.correct))
        for loss, (i, j) in zip(losses, pairwise(ends), strict=True)
    ]
