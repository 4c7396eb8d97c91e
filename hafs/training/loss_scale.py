"""The factor that keeps gradients in fp16's range (Micikevicius et al. 2017, arXiv 1710.03740)."""

import math
from collections.abc import Callable, Iterable

import torch

START, LARGEST = 2.0**16, 2.0**24
GROW_AFTER = 1000
"""Steps without an overflow after which the scale doubles."""


class LossScale:
    """Multiplies the loss before the backward pass and divides the gradients after it.

    Where gradients overflow, the same samples are computed again with half the scale, so no step is lost. Scales are
    powers of two: they change no bit of a gradient that neither overflows nor underflows.

    Args:
        enabled: Whether products are computed in fp16; otherwise the scale is always 1.
        on_shrink: Called with each smaller scale.
    """

    def __init__(self, *, enabled: bool, on_shrink: Callable[[float], None]) -> None:
        self.value, self.steps, self.enabled, self.on_shrink = START if enabled else 1.0, 0, enabled, on_shrink

    def unscaled(self, gradients: Iterable[torch.Tensor], loss: float) -> bool:
        """Divide the gradients of a step by the scale. False: they overflowed, and the step must be computed again.

        Args:
            gradients: Summed over the step; float32.
            loss: The step's loss. If it is not finite, a smaller scale does not help.
        """
        if not self.enabled:
            return True
        found = list(gradients)
        torch._foreach_mul_(found, 1 / self.value)
        if all_finite(found):
            self._grow()
            return True
        if self.value == 1.0 or not math.isfinite(loss):
            return True  # the loss guard decides
        self.value, self.steps = self.value / 2, 0
        self.on_shrink(self.value)
        return False

    def _grow(self) -> None:
        self.steps += 1
        if self.steps >= GROW_AFTER:
            self.value, self.steps = min(LARGEST, 2 * self.value), 0

    def state(self) -> dict[str, float]:
        """The state that a resume needs."""
        return {"value": self.value, "steps": self.steps}

    def restore(self, state: dict[str, float]) -> None:
        """Restore what `state` returned."""
        if self.enabled and state:
            self.value, self.steps = state["value"], int(state["steps"])


def all_finite(tensors: list[torch.Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity; one copy to the host."""
    return not tensors or bool(torch.stack(torch._foreach_norm(tensors)).isfinite().all())
