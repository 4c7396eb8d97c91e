"""Exact match: the answer equals the reference."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class ExactMatch(Metric):
    """Share of answers equal to the reference, apart from white space at both ends."""

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        return None if said.answer is None else Parts(float(said.answer.strip() == said.reference.strip()))
