"""EOS rate: how often the model ends its answer itself."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class EosRate(Metric):
    """Share of answers that end with an end token within the length limit."""

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        return None if said.answer is None else Parts(float(said.ended))
