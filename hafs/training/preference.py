"""The loss over pairs of answers that a stage names. Its arithmetic is in `hafs.modeling.preference`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hafs.core.errors import ConfigError

if TYPE_CHECKING:
    from hafs.data.samples import AnswerPair
    from hafs.modeling.loss import TokenLoss
    from hafs.modeling.preference import PackedPairs, PairNats


@dataclass(frozen=True, kw_only=True)
class Preference:
    """A loss over pairs of answers."""

    loss: Literal["dpo", "orpo"]
    beta: float
    """DPO: how strongly the model is held to the reference. ORPO: weight of the odds ratio."""
    label_smoothing: float
    """DPO: share of pairs assumed to be the wrong way round."""

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with the model before training."""
        return self.loss == "dpo"

    def pack(self, pairs: Sequence["AnswerPair"], groups: Sequence[Sequence[int]]) -> "list[PackedPairs]":
        """Pack the pairs of a whole step, one forward pass per group of their positions."""
        from hafs.modeling.preference import packed_pairs

        orpo = self.loss == "orpo"
        tokens = sum(len(pair.chosen.tokens) - 1 for pair in pairs)
        return [
            packed_pairs([pairs[i] for i in group], prompts=orpo, nll_weight=len(pairs) / max(1, tokens))
            for group in groups
        ]

    def of(self, packed: "PackedPairs", policy: "PairNats", reference: "PairNats | None") -> "TokenLoss":
        """The loss summed over the pairs of one forward pass, how many are ranked right, and the summed margin.

        Args:
            packed: The pairs.
            policy: Their likelihoods under the trained model, with gradients.
            reference: The same before training; None for ORPO.
        """
        from hafs.modeling.loss import TokenLoss
        from hafs.modeling.preference import dpo, orpo

        if reference is not None:
            pairs = dpo(-policy.answer_P2, -reference.answer_P2, beta=self.beta, label_smoothing=self.label_smoothing)
            total = pairs.loss_P.sum()
        else:
            pairs = orpo(-policy.answer_P2 / policy.tokens_P2, beta=self.beta)
            nll = policy.answer_P2[:, 0].sum() + policy.other_P2[:, 0].sum()
            total = pairs.loss_P.sum() + nll * packed.nll_weight
        return TokenLoss(total, (pairs.margin_P > 0).sum(), pairs.margin_P.sum())


def preference(
    *,
    loss: Literal["dpo", "orpo"],
    beta: Annotated[float, Field(gt=0)],
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)],
) -> Preference:
    """The preference loss that a stage names.

    Raises:
        ConfigError: A value has no effect.
    """
    if label_smoothing and loss == "orpo":
        raise ConfigError(
            "preference.label_smoothing has no effect on loss=orpo", hint="label_smoothing=0, or loss=dpo"
        )
    return Preference(loss=loss, beta=beta, label_smoothing=label_smoothing)
