"""The loss on the held-out split, summed batch by batch."""

import math
import time

import torch

from hafs.modeling.loss import TokenLoss


class HeldOutTotals:
    """Running sums of one measurement.

    Args:
        device: The device of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        self.loss, self.tokens = TokenLoss.nothing(device), 0
        self.began = time.perf_counter()

    def add(self, loss: TokenLoss, tokens: int) -> None:
        """Add some samples: their summed loss on this device, and their supervised tokens on all devices."""
        self.loss = self.loss.plus(loss)
        self.tokens += tokens

    def means(self, loss: TokenLoss) -> dict[str, float]:
        """Loss (nats per token), perplexity, accuracy, tokens, and the seconds it took; NaN where nothing was counted.

        Args:
            loss: Summed over all devices.
        """
        mean = float(loss.nats) / self.tokens if self.tokens else math.nan
        return {
            "loss": mean,
            "perplexity": math.exp(min(mean, 700.0)) if self.tokens else math.nan,
            "accuracy": int(loss.correct) / self.tokens if self.tokens else math.nan,
            "tokens": self.tokens,
            "seconds": time.perf_counter() - self.began,
        }
