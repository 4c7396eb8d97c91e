"""How many answers are generated concurrently: as many as their keys and values fit into free memory."""

from collections.abc import Iterable
from typing import Any, Protocol

from hafs.modeling import model_parts
from hafs.modeling.hardware.gpu_memory import spare_bytes
from hafs.modeling.kv_cache import rounded

SHARE = 0.7
"""Of the free memory; the rest is for activations and for the copy that a growing cache makes of a layer."""


class Admissible(Protocol):
    """An answer that is being generated."""

    prompt: list[int]
    limit: int


def cache_bytes_per_token(net: Any) -> int | None:
    """Bytes of keys and values of one token in all layers; None if the model's config does not say."""
    base = model_parts.base_of(net)
    config = base.config.get_text_config(decoder=True)
    try:
        layers = (
            getattr(config, "per_layer_config", None) or [config] * config.num_hidden_layers
        )  # Gemma 4 has two widths
        return 2 * base.dtype.itemsize * sum(map(_key_width, layers))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None


def _key_width(layer: Any) -> int:
    heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
    return heads * (getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)


class Admission:
    """The room for the cache of one model, in tokens.

    Args:
        tokens: Rows times their length; None: not limited.
    """

    def __init__(self, tokens: int | None) -> None:
        self.tokens = tokens

    @classmethod
    def of(cls, net: Any) -> "Admission":
        """What fits into the memory that is free now on the model's device."""
        each, free = cache_bytes_per_token(net), spare_bytes(model_parts.device_of(net))
        return cls(None if each is None or free is None else int(SHARE * free / each))

    def admits(self, rows: Iterable[Admissible]) -> bool:
        """Whether the cache of these rows fits; every row has the room of the longest, and one row is always tried."""
        rooms = [rounded(len(row.prompt) + row.limit) for row in rows]
        return self.tokens is None or len(rooms) <= 1 or len(rooms) * max(rooms) <= self.tokens
