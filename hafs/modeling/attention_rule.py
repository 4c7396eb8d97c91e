"""What the attention of a layer does beyond a scaled causal softmax: window, chunk, softcap, sinks, bias, dropout.

transformers describes windows and chunks by attention masks. hafs makes no mask: `mask_interface` reads the parts that
the mask would consist of, and returns a `Reach` of two numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hafs.core.errors import HafsError


class UnknownAttention(HafsError):
    """An attention layer uses a feature that is not implemented."""


class Reach(NamedTuple):
    """How far back a token attends, itself included."""

    window: int | None = None
    """It attends to this many last tokens."""
    chunk: int | None = None
    """It attends within its own chunk of this many positions."""

    def first(self, position: int) -> int:
        """The first position to which the token at `position` attends."""
        begin = 0 if self.window is None else max(0, position - self.window + 1)
        return begin if self.chunk is None else max(begin, position // self.chunk * self.chunk)

    def covers(self, count: int) -> bool:
        """Whether every token of a sample of `count` tokens attends to all tokens before it."""
        return self.first(count - 1) == 0 if count else True

    def seen(self, query_T: torch.Tensor, key_S: torch.Tensor) -> torch.Tensor:
        """Boolean mask, `[..., T, S]`: causal and within reach."""
        query, key = query_T[..., :, None], key_S[..., None, :]
        seen = key <= query
        if self.window is not None:
            seen = seen & (key > query - self.window)
        return seen if self.chunk is None else seen & (key >= query // self.chunk * self.chunk)


EVERYTHING = Reach()


@dataclass(frozen=True, kw_only=True)
class AttentionRule:
    """How attention scores become weights."""

    scale: float
    reach: Reach = EVERYTHING
    softcap: float | None = None
    """Scores become `softcap * tanh(scores / softcap)` (Gemma 2)."""
    sinks_H: torch.Tensor | None = None
    """A score per head that is part of the softmax and has no value (gpt-oss)."""
    bias_HTS: torch.Tensor | None = None
    """Added to the scores."""
    dropout: float = 0.0
    """Dropout probability of the weights."""

    @property
    def by_hand(self) -> bool:
        """Whether the scores must be computed explicitly, because no fused kernel applies."""
        return self.softcap is not None or self.bias_HTS is not None

    def plain(self, count: int) -> bool:
        """Whether scaled causal attention is enough for a sample of `count` tokens."""
        beyond = self.by_hand or self.sinks_H is not None or self.dropout
        return not beyond and self.reach.covers(count)


_PARTS = ("causal_mask_function", "packed_sequence_mask_function", "remap_positions_for_packed_sequence", "and_masks")
"""The parts of plain and packed causal masks in `transformers.masking_utils`."""


def mask_interface(*_: Any, mask_function: Callable[..., Any], attention_mask: Any = None, **__: Any) -> Reach | None:
    """What transformers passes to attention layers instead of a mask; None for plain causal attention.

    Raises:
        UnknownAttention: The mask is not causal, windowed or chunked, or there is a padding mask.
    """
    if attention_mask is not None:
        raise UnknownAttention("the attention gets a padding mask, which packed sequences do not have")
    window = chunk = None
    for name, holds in _made_of(mask_function):
        if name == "sliding_window_overlay":
            window = holds["sliding_window"]
        elif name == "chunked_overlay":
            chunk = holds["chunk_size"]
        elif name not in _PARTS:
            raise UnknownAttention(f"the attention mask has a part that is not implemented: {name}")
    return Reach(window, chunk) if window or chunk else None


def _made_of(function: Callable[..., Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The mask functions that a mask function combines: the name of each, and the values that it closes over."""
    cells = getattr(function, "__closure__", None) or ()
    holds = dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True))
    yield function.__qualname__.split(".")[0], holds
    for value in holds.values():
        for part in value if isinstance(value, tuple) else (value,):
            if callable(part) and hasattr(part, "__code__"):
                yield from _made_of(part)
