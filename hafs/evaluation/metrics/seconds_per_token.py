"""Seconds per token: the generation time of answers, at the evaluation's concurrency."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class SecondsPerToken(Metric):
    """Generation time divided by tokens; a step's time is divided among the answers of its batch.

    Each side is timed once, and other load on the machine affects all rows alike, so there is no interval.
    """

    better = "lower"
    unit = "seconds"
    once = True

    def parts(self, said: Said) -> Parts | None:
        """Seconds, and generated tokens with end tokens."""
        return None if said.answer is None or not said.seconds else Parts(said.seconds, said.tokens + said.ended)
