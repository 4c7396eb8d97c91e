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
        self.loss, self.units = TokenLoss.nothing(device), 0
        self.began = time.perf_counter()

    def add(self, loss: TokenLoss, units: int) -> None:
        """Add some samples: their summed loss on this device, and their supervised tokens (or pairs) on all devices."""
        self.loss = self.loss.plus(loss)
        self.units += units

    def means(self, loss: TokenLoss) -> dict[str, float]:
        """Loss (nats per token), perplexity, accuracy, tokens, and the seconds it took; NaN where nothing was counted.

        Args:
            loss: Summed over all devices.
        """
        mean = float(loss.nats) / self.units if self.units else math.nan
        return {
            "loss": mean,
            "perplexity": math.exp(min(mean, 700.0)) if self.units else math.nan,
            "accuracy": int(loss.correct) / self.units if self.units else math.nan,
            "tokens": self.units,
            "seconds": time.perf_counter() - self.began,
        }

    def pair_means(self, loss: TokenLoss) -> dict[str, float]:
        """Preference loss, mean reward margin, share of pairs ranked right, and the number of pairs (at least one).

        Args:
            loss: Summed over all devices.
        """
        return {
            "preference_loss": float(loss.nats) / self.units,
            "reward_margin": float(loss.margin) / self.units,
            "reward_accuracy": int(loss.correct) / self.units,
            "pairs": self.units,
        }
