"""EOS rate: whether the model knows when it is done."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class EosRate(Metric):
    """Share of answers that end by themselves within the limit."""

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        return None if said.answer is None else Parts(float(said.ended))
