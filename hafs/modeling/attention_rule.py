"""What a layer's attention does beyond a scaled causal softmax, and how much of the past it reaches.

transformers tells an attention function about windows and chunks by the mask that it would have it use. No mask is ever
made here: `mask_interface` reads what the mask would be made of, and hands on a `Reach` of two numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hafs.core.errors import HafsError


class UnknownAttention(HafsError):
    """An attention layer asks for something that is not implemented."""


class Reach(NamedTuple):
    """How far back a token sees, itself included."""

    window: int | None = None
    """Its last so many tokens."""
    chunk: int | None = None
    """Those of its own chunk: positions are cut into pieces of this length."""

    def first(self, position: int) -> int:
        """The first position that one at `position` sees."""
        begin = 0 if self.window is None else max(0, position - self.window + 1)
        return begin if self.chunk is None else max(begin, position // self.chunk * self.chunk)

    def covers(self, count: int) -> bool:
        """Whether in a sample of `count` tokens every token sees all before it."""
        return self.first(count - 1) == 0 if count else True

    def seen(self, query_T: torch.Tensor, key_S: torch.Tensor) -> torch.Tensor:
        """Which positions see which, `[..., T, S]`: causal, and within reach."""
        query, key = query_T[..., :, None], key_S[..., None, :]
        seen = key <= query
        if self.window is not None:
            seen = seen & (key > query - self.window)
        return seen if self.chunk is None else seen & (key >= query // self.chunk * self.chunk)


EVERYTHING = Reach()


@dataclass(frozen=True, kw_only=True)
class AttentionRule:
    """How scores become weights."""

    scale: float
    reach: Reach = EVERYTHING
    softcap: float | None = None
    """Scores become `softcap * tanh(scores / softcap)` (Gemma 2)."""
    sinks_H: torch.Tensor | None = None
    """A score of each head that takes part in the softmax and has no value (gpt-oss)."""
    bias_HTS: torch.Tensor | None = None
    """Added to the scores."""
    dropout: float = 0.0
    """Share of the weights that are dropped."""

    @property
    def by_hand(self) -> bool:
        """Whether scores must be at hand, which no fused kernel gives."""
        return self.softcap is not None or self.bias_HTS is not None

    def plain(self, count: int) -> bool:
        """Whether a sample of `count` tokens needs nothing but scaled causal attention."""
        beyond = self.by_hand or self.sinks_H is not None or self.dropout
        return not beyond and self.reach.covers(count)


_PARTS = ("causal_mask_function", "packed_sequence_mask_function", "remap_positions_for_packed_sequence", "and_masks")
"""What plain and packed causal masks are made of, in `transformers.masking_utils`."""


def mask_interface(*_: Any, mask_function: Callable[..., Any], attention_mask: Any = None, **__: Any) -> Reach | None:
    """What transformers hands to attention layers in place of a mask; None for plain causal attention.

    Raises:
        UnknownAttention: The mask is another than causal, windowed or chunked, or some tokens are padding.
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
    """The mask functions that a mask function combines, by the name of what made each, and what each holds."""
    cells = getattr(function, "__closure__", None) or ()
    holds = dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True))
    yield function.__qualname__.split(".")[0], holds
    for value in holds.values():
        for part in value if isinstance(value, tuple) else (value,):
            if callable(part) and hasattr(part, "__code__"):
                yield from _made_of(part)
