"""Token accuracy: how often the most likely token is that of the reference."""

from dataclasses import dataclass

from hafs.evaluation.metrics import Metric, Parts, Said


@dataclass(frozen=True, kw_only=True)
class TokenAccuracy(Metric):
    """Share of supervised tokens that the model ranks first."""

    def parts(self, said: Said) -> Parts | None:
        """Correct tokens, and the number of tokens."""
        return Parts(said.correct, said.supervised) if said.nats is not None and said.supervised else None
