"""ROUGE-L: the longest common subsequence of words (Lin 2004), computed by the `rouge-score` package."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from hafs.evaluation.metrics import Metric, Parts, Said


@cache
def scorer() -> Any:
    """Google's scorer; its words are lower-cased runs of letters and digits."""
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"])


@dataclass(frozen=True, kw_only=True)
class RougeL(Metric):
    """Mean F1 over the rows."""

    def parts(self, said: Said) -> Parts | None:
        """F1 of one row."""
        return None if said.answer is None else Parts(scorer().score(said.reference, said.answer)["rougeL"].fmeasure)
