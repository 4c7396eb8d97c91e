"""chrF: the overlap of character n-grams (Popović 2015), counted by `sacrebleu`."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from hafs.evaluation.metrics import Metric, Parts, Said


@cache
def _scorer() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@dataclass(frozen=True, kw_only=True)
class Chrf(Metric):
    """Mean sentence chrF2 over the rows, from 0 to 1 (sacrebleu counts to 100)."""

    def parts(self, said: Said) -> Parts | None:
        """chrF2 of one row."""
        if said.answer is None:
            return None
        return Parts(_scorer().sentence_score(said.answer, [said.reference]).score / 100)
