"""Losses over pairs of answers: DPO (Rafailov 2023, arXiv 2305.18290) and ORPO (Hong 2024, arXiv 2403.07691).

Legend: `P` pairs, `N` predicted positions, `D` hidden width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from hafs.data.samples import AnswerPair, Sample
from hafs.modeling.head import OutputHead
from hafs.modeling.loss import token_loss
from hafs.modeling.packing import PackedSequence, packed_sequence, supervised_states


class PairLoss(NamedTuple):
    """Of each pair."""

    loss_P: torch.Tensor
    margin_P: torch.Tensor
    """Reward of the better answer minus that of the worse one; positive: the model prefers the better one."""


def dpo(policy_P2: torch.Tensor, reference_P2: torch.Tensor, *, beta: float, label_smoothing: float) -> PairLoss:
    """Loss of log probabilities under the trained model and under the reference.

    Args:
        policy_P2: Log probability of the better and of the worse answer, summed over tokens, in nats.
        reference_P2: The same under the reference.
        beta: Nats of reward per nat that the trained model is away from the reference.
        label_smoothing: Share of pairs assumed to be the wrong way round (conservative DPO, Mitchell 2023).
    """
    reward_P2 = beta * (policy_P2 - reference_P2)
    margin_P = reward_P2[:, 0] - reward_P2[:, 1]
    loss_P = -(1 - label_smoothing) * F.logsigmoid(margin_P) - label_smoothing * F.logsigmoid(-margin_P)
    return PairLoss(loss_P, margin_P.detach())


def orpo(mean_P2: torch.Tensor, *, beta: float) -> PairLoss:
    """The odds-ratio part of the loss; the likelihood of the better answer is added by the caller.

    Args:
        mean_P2: Mean log probability per token of the better and of the worse answer, in nats.
        beta: Weight of the odds ratio (lambda in the paper).
    """
    odds_P2 = mean_P2 - _log1mexp(mean_P2)
    return PairLoss(
        -beta * F.logsigmoid(odds_P2[:, 0] - odds_P2[:, 1]), beta * (mean_P2[:, 0] - mean_P2[:, 1]).detach()
    )


def _log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x < 0, without cancellation (Maechler 2012)."""
    below = x < -0.6931471805599453
    near = torch.log(-torch.expm1(torch.where(below, -1.0, x)))
    return torch.where(below, torch.log1p(-torch.exp(torch.where(below, x, -1.0))), near)


@dataclass(frozen=True, kw_only=True)
class PackedPairs(PackedSequence):
    """Whole pairs in one forward pass; predicted positions are ordered by their group."""

    ends: list[int]
    """Where groups of predicted positions begin, then N. A pair has four groups: the better answer, other tokens of
    its conversation, the worse answer, other tokens of its conversation."""
    nll_weight: float
    """ORPO: weight of the likelihood, so that it is a mean over the tokens of the whole step."""

    @property
    def units(self) -> int:
        """Its pairs."""
        return (len(self.ends) - 1) // 4


def packed_pairs(pairs: Sequence[AnswerPair], *, prompts: bool, nll_weight: float) -> PackedPairs:
    """Pairs end to end, the better answer's conversation first.

    Args:
        pairs: Of one forward pass.
        prompts: Whether the tokens of the better answer's prompt are predicted too.
        nll_weight: See `PackedPairs`.
    """
    halves = [half for pair in pairs for half in (pair.chosen, pair.rejected)]
    packed = packed_sequence(halves)
    groups: list[np.ndarray] = []
    for place, (half, start) in enumerate(zip(halves, packed.borders, strict=False)):
        groups += [part + start - 1 for part in _groups(half, others=prompts and place % 2 == 0)]
    predicts_N = torch.from_numpy(np.concatenate(groups))
    return PackedPairs(
        tokens_T=packed.tokens_T, positions_T=packed.positions_T, borders=packed.borders, predicts_N=predicts_N,
        target_N=packed.tokens_T[predicts_N + 1], ends=[0, *np.cumsum([len(part) for part in groups]).tolist()],
        nll_weight=nll_weight,
    )  # fmt: skip


def _groups(half: Sample, *, others: bool) -> tuple[np.ndarray, np.ndarray]:
    supervised = half.supervised.copy()
    supervised[0] = False  # nothing predicts the first token
    other = ~supervised if others else np.zeros_like(supervised)
    other[0] = False
    return np.flatnonzero(supervised), np.flatnonzero(other)


class PairNats(NamedTuple):
    """Negative log likelihoods of pairs, in nats; column 0 is the better answer."""

    answer_P2: torch.Tensor
    other_P2: torch.Tensor
    """Of the other predicted tokens."""
    tokens_P2: torch.Tensor
    """Tokens of each answer."""


def pair_nats(net: Any, packed: PackedPairs) -> PairNats:
    """The likelihoods of the answers of one forward pass; differentiable."""
    hidden_ND, head = supervised_states(net, packed)
    return of_states(hidden_ND, head.to(hidden_ND.dtype), packed)


def of_states(hidden_ND: torch.Tensor, head: OutputHead, packed: PackedPairs) -> PairNats:
    """The likelihoods from hidden states at the predicted positions."""
    groups = list(pairwise(packed.ends))
    nats = torch.stack([token_loss(hidden_ND[i:j], head, packed.target_N[i:j]).nats for i, j in groups])
    counts = torch.tensor([j - i for i, j in groups], device=nats.device)
    nats_P22, counts_P22 = nats.view(-1, 2, 2), counts.view(-1, 2, 2)
    return PairNats(nats_P22[:, :, 0], nats_P22[:, :, 1], counts_P22[:, :, 0])
