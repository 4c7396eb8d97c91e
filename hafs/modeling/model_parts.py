"""The parts of a causal language model that hafs runs: its decoder and its head, and the mode in which it runs them.

Legend: `T` tokens of a packed sequence, `D` hidden width.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

import torch

from hafs.modeling.borders import Borders
from hafs.modeling.head import OutputHead, head_of

_RUN_MODE, _ROPE_LIMIT = "_hafs_run_mode", "_hafs_rope_limit"


@dataclass(frozen=True, kw_only=True)
class RunMode:
    """How hafs runs a model so that its logits are those of transformers; `guard` chooses it after loading."""

    packs: bool = True
    """Whether samples share a packed sequence; otherwise each sample has its own forward pass."""
    attention: Literal["hafs", "own"] = "hafs"
    """Whether the layers use the attention of hafs or of transformers."""
    cache: Literal["hafs", "own", "none"] = "hafs"
    """In generation: all answers in the KV cache of hafs, each answer in the model's own cache, or no cache."""

    @property
    def costs(self) -> str | None:
        """What makes this mode slower than the first one; None for the first one."""
        said = [] if self.packs else ["each sample has a forward pass of its own"]
        if self.cache != "hafs":
            said.append("answers are generated one by one" + (", without a cache" if self.cache == "none" else ""))
        return "; ".join(said) or None


def base_of(net: Any) -> Any:
    """The causal language model of transformers, without PEFT."""
    return getattr(net, "get_base_model", lambda: net)()


def decoder_of(net: Any) -> Any:
    """The part of the model that turns token ids into last hidden states."""
    base = base_of(net)
    found = base.get_decoder()
    if found is not base:
        return found
    names = (base.base_model_prefix, "model", "transformer", "decoder")
    return next((part for name in names if (part := getattr(base, name, None)) is not None), base)


def head(net: Any) -> OutputHead:
    """The part of the model that turns hidden states into logits."""
    return head_of(base_of(net))


def device_of(net: Any) -> torch.device:
    """The device that a model computes on: the head's. Its first parameter, the embedding, may stay in CPU memory."""
    return base_of(net).get_output_embeddings().weight.device


def run_mode(net: Any) -> RunMode:
    """The mode of a model; the fastest one for a model that was not loaded by hafs."""
    return getattr(base_of(net), _RUN_MODE, None) or RunMode()


def set_run_mode(net: Any, mode: RunMode) -> None:
    """Set the mode of a model."""
    setattr(base_of(net), _RUN_MODE, mode)


def hidden_states(net: Any, tokens_T: torch.Tensor, positions_T: torch.Tensor, borders: Sequence[int]) -> torch.Tensor:
    """Last hidden states of a packed sequence, `[T, D]`. No sample sees another one.

    Args:
        net: A causal language model of transformers, possibly wrapped by PEFT.
        tokens_T: Token ids of samples, end to end.
        positions_T: The position of each in its sample.
        borders: Where samples begin, then T.
    """
    decoder = decoder_of(net)
    if not run_mode(net).packs:
        alone = [decoder(input_ids=tokens_T[None, i:j], use_cache=False) for i, j in pairwise(borders)]
        return torch.cat([last_hidden(out)[0] for out in alone])
    spans, limit = list(pairwise(borders)), rope_limit(net)
    beyond = [] if limit is None else [span for span in spans if span[1] - span[0] > limit]
    if not beyond:
        return _packed(decoder, tokens_T, positions_T, borders)
    within = [span for span in spans if span not in beyond]
    found: dict[tuple[int, int], torch.Tensor] = {}
    for group in filter(None, (within, *([span] for span in beyond))):
        places_T = torch.cat([torch.arange(*span, device=tokens_T.device) for span in group])
        counts = [end - start for start, end in group]
        _forget_growth(base_of(net))
        hidden_TD = _packed(decoder, tokens_T[places_T], positions_T[places_T], [0, *accumulate(counts)])
        found |= dict(zip(group, hidden_TD.split(counts), strict=True))
    return torch.cat([found[span] for span in spans])


def _packed(decoder: Any, tokens_T: torch.Tensor, positions_T: torch.Tensor, borders: Sequence[int]) -> torch.Tensor:
    out = decoder(
        input_ids=tokens_T[None],
        position_ids=positions_T[None],
        attention_mask=None,
        use_cache=False,
        borders=Borders.of(borders),
    )
    return out.last_hidden_state.squeeze(0)


def rope_limit(net: Any) -> int | None:
    """Tokens beyond which the rotary frequencies change for all samples of a forward pass; None: never.

    transformers chooses the frequencies of `longrope` and `dynamic` by the last position of a pass, so a longer sample
    has a pass of its own.
    """
    base = base_of(net)
    if not hasattr(base, _ROPE_LIMIT):
        setattr(base, _ROPE_LIMIT, min(_rope_limits(base), default=None))
    return getattr(base, _ROPE_LIMIT)


def _forget_growth(base: Any) -> None:
    """Let `dynamic` frequencies follow the next pass alone, not the longest one so far."""
    for module in base.modules():
        if hasattr(module, "max_seq_len_cached") and hasattr(module, "original_max_seq_len"):
            module.max_seq_len_cached = module.original_max_seq_len


def _rope_limits(base: Any) -> Iterator[int]:
    for module in base.modules():
        kinds = getattr(module, "rope_type", None)
        for layer, kind in (kinds if isinstance(kinds, dict) else {None: kinds}).items():
            if kind == "longrope":
                said = module.config.rope_parameters
                yield (said if layer is None else said[layer])["original_max_position_embeddings"]
            elif isinstance(kind, str) and "dynamic" in kind:
                yield module.original_max_seq_len


def last_hidden(out: Any) -> torch.Tensor:
    """The last hidden states of a decoder's output, `[B, T, D]`."""
    return out.last_hidden_state if hasattr(out, "last_hidden_state") else out[0]


_CACHES = ("past_key_values", "cache_params", "state", "mems")
"""The names of caches in the outputs and arguments of models."""


def continue_with_own_cache(
    net: Any, tokens_T: torch.Tensor, memory: Mapping[str, Any] | None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Hidden states, `[T, D]`, of the next tokens of one row, and the model's cache after them.

    Args:
        net: A causal language model.
        tokens_T: The next tokens; exactly one if there is a cache.
        memory: The cache that the previous call returned; it may be changed in place. None at the start.

    Raises:
        TypeError: The model has no cache.
    """
    out = decoder_of(net)(input_ids=tokens_T[None], use_cache=True, **(memory or {}))
    found = {name: kept for name in _CACHES if (kept := getattr(out, name, None)) is not None}
    if not found:
        raise TypeError("the model has no cache")
    return last_hidden(out)[0], found
