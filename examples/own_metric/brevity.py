"""A metric of one's own: the share of answers that are at most so many words long."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class Brevity(Metric):
    """Share of answers of at most `most_words` words; rows that were not asked do not count."""

    most_words: int

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        return None if said.answer is None else Parts(float(len(said.answer.split()) <= self.most_words))
