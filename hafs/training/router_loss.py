"""The load-balancing loss of a mixture of experts (Fedus et al. 2021, arXiv 2101.03961), as transformers has it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hafs.core.errors import ConfigError
from hafs.modeling import model_parts


class RouterLoss:
    """Adds a weighted load-balancing loss to that of a packed sequence.

    Args:
        net: A causal language model of transformers, possibly wrapped by PEFT.
        weight: Of the loss beside the mean loss of a token; None: no such loss.

    Raises:
        ConfigError: transformers has no load-balancing loss for this model.
    """

    def __init__(self, net: Any, weight: float | None) -> None:
        self.weight, self._logits = weight, []
        if weight is None:
            return
        base = model_parts.base_of(net)
        self._function: Any = getattr(sys.modules[type(base).__module__], "load_balancing_loss_func", None)
        recorded = getattr(model_parts.decoder_of(net), "_can_record_outputs", {}).get("router_logits")
        self._experts, self._top_k = getattr(base, "num_experts", None), getattr(base, "num_experts_per_tok", None)
        if not (self._function and recorded and self._experts and self._top_k):
            raise ConfigError(
                f"router_aux_loss={weight:g}: transformers has no load-balancing loss for models of type "
                f"{base.config.model_type!r}",
                hint="router_aux_loss=null",
            )
        self._index: int = recorded.index
        self._routers = [module for module in base.modules() if isinstance(module, recorded.target_class)]

    @contextmanager
    def watching(self) -> Iterator[Callable[[int], torch.Tensor | float]]:
        """Watch the routers of one forward pass.

        Yields:
            A function that gives the loss of the pass, times the supervised tokens that it is called with.
        """
        self._logits = []
        hooks = [] if self.weight is None else [router.register_forward_hook(self._note) for router in self._routers]
        try:
            yield self._times
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, _: Any, __: Any, found: Any) -> None:
        self._logits.append(found[self._index] if isinstance(found, tuple) else found)

    def _times(self, supervised: int) -> torch.Tensor | float:
        if self.weight is None:
            return 0.0
        rows = tuple(logits.flatten(0, -2).float() for logits in self._logits)
        self._logits = []
        return self._function(rows, self._experts, self._top_k) * (self.weight * supervised)
