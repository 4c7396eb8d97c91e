"""Answer length: how much the model says."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class AnswerLength(Metric):
    """Mean tokens of an answer, its end token not counted; a cut answer counts as long as it is."""

    better = "neither"
    unit = "tokens"

    def parts(self, said: Said) -> Parts | None:
        """Tokens of one answer."""
        return None if said.answer is None else Parts(said.tokens)
