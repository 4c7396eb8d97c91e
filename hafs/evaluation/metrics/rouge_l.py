"""ROUGE-L: F1 of the longest common subsequence of words (Lin 2004); words are lower-cased runs of a-z and 0-9."""

import re
from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said

_WORD = re.compile(r"[a-z0-9]+")


def rouge_l(reference: str, answer: str) -> float:
    """F1 in [0, 1], as Google's `rouge-score` computes it without a stemmer."""
    from rapidfuzz.distance import LCSseq

    wanted, said = _WORD.findall(reference.lower()), _WORD.findall(answer.lower())
    return 2 * LCSseq.similarity(wanted, said) / max(1, len(wanted) + len(said))


@dataclass(frozen=True, kw_only=True)
class RougeL(Metric):
    """Mean F1 over the rows."""

    def parts(self, said: Said) -> Parts | None:
        """F1 of one row."""
        return None if said.answer is None else Parts(rouge_l(said.reference, said.answer))
