"""Diagnosis: the answer names the cause, the evidence and the fix, with the words of the reference."""

import re
from collections import Counter
from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said

PARTS = ("Cause", "Evidence", "Fix")
_WORD = re.compile(r"[#$%@.]?\w+")


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Metric):
    """Mean over rows and over the three parts of the F1 of words; a part that is missing counts 0.

    It applies to rows whose own answer has all three parts.
    """

    def parts(self, said: Said) -> Parts | None:
        """The mean F1 of one row's parts."""
        wanted = parts_of(said.reference)
        if said.answer is None or len(wanted) < len(PARTS):
            return None
        got = parts_of(said.answer)
        return Parts(sum(word_f1(got.get(part, ""), wanted[part]) for part in PARTS) / len(PARTS))


def parts_of(text: str) -> dict[str, str]:
    """The parts of a diagnosis by their labels; of repeated parts the first counts."""
    found: dict[str, str] = {}
    for match in re.finditer(rf"^({'|'.join(PARTS)}):(.*)$", text, re.MULTILINE):
        found.setdefault(match[1], match[2].strip())
    return found


def word_f1(got: str, wanted: str) -> float:
    """The harmonic mean of precision and recall of words; `$0600`, `.a8` and `#5` are words."""
    a, b = (Counter(_WORD.findall(text.lower())) for text in (got, wanted))
    shared = sum((a & b).values())
    return 2 * shared / (sum(a.values()) + sum(b.values())) if shared else 0.0
