"""The model as a stage started, which a preference loss compares with: its weights, put back for a forward pass.

Only trained parameters differ from it, so a copy of the adapter is the whole reference. It is never saved: a resume
loads the stage's first adapter anyway, before its checkpoint.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class Reference:
    """A copy of the trained parameters.

    Args:
        trainable: The parameters by name, as the stage starts.
    """

    def __init__(self, trainable: Mapping[str, torch.nn.Parameter]) -> None:
        self.first = {name: parameter.detach().clone() for name, parameter in trainable.items()}

    @contextmanager
    def weights(self, trainable: Mapping[str, torch.nn.Parameter]) -> Iterator[None]:
        """Put the first weights in place, and afterwards the current ones again, bit for bit."""
        now = {name: parameter.detach().clone() for name, parameter in trainable.items()}
        try:
            _set(trainable, self.first)
            yield
        finally:
            _set(trainable, now)


@torch.no_grad()
def _set(trainable: Mapping[str, torch.nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in trainable.items():
        parameter.copy_(values[name])


def set_dropout_rates(net: torch.nn.Module, *, off: bool) -> None:
    """Switch dropout off for a stage, as the two likelihoods that it compares would differ by chance; or on again."""
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            rate = module.__dict__.setdefault("_hafs_rate", module.p)
            module.p = 0.0 if off else rate
