"""Token accuracy: how often the most likely token was the one that the row's own answer has."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class TokenAccuracy(Metric):
    """Share of supervised tokens that were the model's first choice."""

    def parts(self, said: Said) -> Parts | None:
        """Tokens guessed, out of how many."""
        return Parts(said.correct, said.supervised) if said.nats is not None and said.supervised else None
