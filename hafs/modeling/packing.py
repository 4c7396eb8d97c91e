"""Packs samples into sequences: one sequence is one forward pass, several whole samples end to end, no padding.

Legend: `T` tokens of a packed sequence, `N` supervised positions, `D` hidden width, `V` vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from hafs.data.samples import Sample
from hafs.modeling import model_parts
from hafs.modeling.borders import Borders
from hafs.modeling.head import OutputHead


def pack(lengths: Sequence[int], capacity: int, *, at_least: int = 1) -> list[list[int]]:
    """Distribute samples over as few sequences as hold them, about equally full.

    A sample longer than the capacity gets its own sequence.

    Args:
        lengths: Tokens of each sample.
        capacity: Tokens of a sequence.
        at_least: Minimum number of sequences if there are as many samples: one for each device.

    Returns:
        For each sequence the positions of its samples, in ascending order; every sample is in exactly one sequence.
    """
    longest_first = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    count = max(at_least, -(-sum(lengths) // capacity))
    while True:
        rows: list[list[int]] = [[] for _ in range(count)]
        filled = [0] * count
        for i in longest_first:
            emptiest = min(range(count), key=filled.__getitem__)
            rows[emptiest].append(i)
            filled[emptiest] += lengths[i]
        if all(full <= capacity or len(row) == 1 for full, row in zip(filled, rows, strict=True)):
            return [sorted(row) for row in rows if row]
        count += 1


@dataclass(frozen=True, kw_only=True)
class PackedSequence:
    """One forward pass."""

    tokens_T: torch.Tensor
    """Token ids, int64."""
    positions_T: torch.Tensor
    """Position of each token in its own sample, int64."""
    borders: Sequence[int]
    """Where samples begin, then T."""
    predicts_N: torch.Tensor
    """Positions whose next token is supervised, int64."""
    target_N: torch.Tensor
    """Those next tokens, int64."""

    @property
    def units(self) -> int:
        """The number of terms of its summed loss: supervised tokens."""
        return len(self.target_N)

    def to(self, device: torch.device) -> Self:
        """The sequence on a device, in one copy."""
        if self.tokens_T.device == device:
            return self
        borders_S = torch.tensor(self.borders)
        parts = (self.tokens_T, self.positions_T, self.predicts_N, self.target_N, borders_S)
        moved = torch.cat(parts).to(device, non_blocking=True).split([len(part) for part in parts])
        tokens_T, positions_T, predicts_N, target_N, places = moved
        borders = Borders(self.borders, offsets=places.int())
        return replace(
            self,
            tokens_T=tokens_T,
            positions_T=positions_T,
            borders=borders,
            predicts_N=predicts_N,
            target_N=target_N,
        )


def packed_sequence(samples: Sequence[Sample]) -> PackedSequence:
    """Samples end to end. A sample's first token is never predicted: nothing before it belongs to it."""
    lengths = [len(sample.tokens) for sample in samples]
    borders = [0, *np.cumsum(lengths).tolist()]
    tokens = torch.from_numpy(np.concatenate([sample.tokens for sample in samples]).astype(np.int64))
    supervised = np.concatenate([sample.supervised for sample in samples])
    supervised[borders[:-1]] = False
    target = torch.from_numpy(np.flatnonzero(supervised))
    positions = torch.from_numpy(np.concatenate([np.arange(n) for n in lengths]))
    return PackedSequence(
        tokens_T=tokens, positions_T=positions, borders=borders, predicts_N=target - 1, target_N=tokens[target]
    )


def supervised_states(net: Any, packed: PackedSequence) -> tuple[torch.Tensor, OutputHead]:
    """Run a packed sequence through the network, up to the vocabulary projection.

    Args:
        net: A causal language model of transformers, possibly wrapped by PEFT, with block-causal attention.
        packed: A packed sequence on its device.

    Returns:
        The last hidden states of the supervised positions (N, D), and the head.
    """
    hidden_TD = model_parts.hidden_states(net, packed.tokens_T, packed.positions_T, packed.borders)
    return hidden_TD[packed.predicts_N], model_parts.head(net)


def supervised_tokens(samples: Sequence[Sample]) -> int:
    """Tokens of these samples that a packed sequence predicts."""
    return sum(int(sample.supervised[1:].sum()) for sample in samples)
