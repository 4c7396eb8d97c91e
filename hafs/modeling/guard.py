"""Compare the logits of every loaded base model with those of transformers, on twenty tokens, before it is used.

A forward pass of transformers gives the expected logits. hafs runs the same tokens in a packed sequence behind other
tokens, and from its KV cache. Sliding windows are shortened to a few tokens on both sides. If the logits differ, the
guard tries the next `RunMode`; if no mode is right, it refuses the model.

Legend: `T` tokens, `D` hidden width, `V` vocabulary.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from hafs.core.errors import HafsError
from hafs.modeling import model_parts
from hafs.modeling.attention import NAME
from hafs.modeling.kv_cache import KVCache
from hafs.modeling.model_parts import RunMode
from hafs.modeling.reference_run import small_windows, transformers_attention, untouched, use_transformers_attention

TOKENS, BEFORE, PROMPTS = 20, 5, (13, 7)
"""Tokens of the sample, of the sample before it in the packed sequence, and of two prompts that fill the cache."""
TOLERANCE = {torch.float32: 2e-4, torch.float64: 2e-4}
"""Largest difference of logits relative to their spread; rounding gives about 1e-6 in float32."""
ROUGH = 0.2
"""The same for 16 bits and quantized weights, where rounding gives up to 0.08 and errors give 0.3 or more."""


class UnsupportedModel(HafsError):
    """The logits of hafs differ from those of transformers for this type of model."""

    def __init__(self, net: Any, place: str, why: str, *, hint: str | None = None) -> None:
        kind = model_parts.base_of(net).config.get_text_config(decoder=True).model_type
        super().__init__(
            f"models of type {kind!r} are not supported ({place}): {why}",
            hint=hint or "choose another base; docs/reference/conformance.md lists the supported model types",
        )


RUN_MODES = (
    RunMode(),
    RunMode(packs=False, cache="own"),
    RunMode(packs=False, attention="own", cache="own"),
)
"""Tried in this order; each is slower than the one before and has fewer requirements."""


def guard(net: Any) -> RunMode:
    """Find the fastest mode in which a model is computed correctly, and set it.

    Args:
        net: A causal language model as loaded, without an adapter.

    Raises:
        UnsupportedModel: The logits differ from those of transformers in every mode.
    """
    why: dict[RunMode, tuple[str, str]] = {}
    with untouched(net), small_windows(net) as windowed:
        trial = _Trial(net)
        if found := trial.head():
            raise UnsupportedModel(net, "head", found)
        for mode in RUN_MODES[has_state(trial.decoder) :]:
            failed = _failed(trial, mode)
            if failed is None:
                return model_parts.run_mode(net)
            why[mode] = failed
    place, what = next(iter(why.values()))
    raise UnsupportedModel(net, f"{place}{'; checked with short windows' if windowed else ''}", what)


_STATEFUL = re.compile(r"Mamba|DeltaNet|SSM|R(WKV|wkv)|LSTM|Recurrent|Lightning|LinearAttention|ShortConv")


def has_state(decoder: torch.nn.Module) -> bool:
    """Whether layers carry a state or convolve over tokens, so that samples of a packed sequence would see each other.

    The check does not rely on logits, in which such a leak can be too small to be noticed.
    """
    return any(
        isinstance(module, torch.nn.Conv1d) or _STATEFUL.search(type(module).__name__) for module in decoder.modules()
    )


def _failed(trial: "_Trial", mode: RunMode) -> tuple[str, str] | None:
    """Where and why a mode is wrong; None if it is right; the model then keeps this mode."""
    if mode.attention == "own":
        use_transformers_attention(trial.net, NAME)
    model_parts.set_run_mode(trial.net, mode)
    if found := trial.packed():
        return ("one sample", alone) if (alone := trial.alone()) else ("packed samples", found)
    if not trial.cached():
        return None
    if mode.cache == "hafs":  # packing works; the model's own cache may work as well
        model_parts.set_run_mode(trial.net, replace(mode, cache="own"))
        if not trial.cached():
            return None
    model_parts.set_run_mode(trial.net, replace(mode, cache="none"))
    return None


class _Trial:
    """Logits of transformers for a few tokens, compared with those of hafs; a check returns None or the difference."""

    def __init__(self, net: Any) -> None:
        self.net, self.base, self.decoder = net, model_parts.base_of(net), model_parts.decoder_of(net)
        vocab = self.base.get_input_embeddings().weight.shape[0]
        self.device = self.base.get_output_embeddings().weight.device
        self.ids_T = torch.linspace(vocab // 8, vocab * 7 // 8 - 1, TOKENS, device=self.device).long().roll(7)
        held: list[Any] = []
        hook = self.decoder.register_forward_hook(lambda *call: held.append(call[-1]))
        try:
            with transformers_attention(net, NAME):
                self.logits_TV = self.base(input_ids=self.ids_T[None], use_cache=False).logits[0].float()
        finally:
            hook.remove()
        self.hidden_TD = model_parts.last_hidden(held[-1])[0]
        quantized = getattr(self.base, "is_quantized", False)
        self.tolerance = ROUGH if quantized else TOLERANCE.get(self.base.dtype, ROUGH)

    def head(self) -> str | None:
        """Apply the head to the hidden states of transformers."""
        return self._differs(lambda: self.hidden_TD, range(TOKENS))

    def alone(self) -> str | None:
        """Run the sample in its own forward pass."""
        positions_T = torch.arange(TOKENS, device=self.device)
        return self._differs(
            lambda: model_parts.hidden_states(self.net, self.ids_T, positions_T, [0, TOKENS]), range(TOKENS)
        )

    def packed(self) -> str | None:
        """Run the sample behind another one; neither may see the other."""
        places = [*range(BEFORE), *range(TOKENS)]
        positions_T = torch.tensor(places, device=self.device)
        borders = [0, BEFORE, BEFORE + TOKENS]
        return self._differs(
            lambda: model_parts.hidden_states(self.net, self.ids_T[positions_T], positions_T, borders), places
        )

    def cached(self) -> str | None:
        """Run the two tokens after each prompt from the cache."""
        read = self._from_slots if model_parts.run_mode(self.net).cache == "hafs" else self._from_own
        return self._differs(read, [count + step for step in (0, 1) for count in PROMPTS])

    def _from_slots(self) -> torch.Tensor:
        kv_cache, done = KVCache(), []
        kv_cache.begin_packed([(kv_cache.open(), count) for count in PROMPTS])
        places_T = torch.cat([torch.arange(count, device=self.device) for count in PROMPTS])
        self.decoder(
            input_ids=self.ids_T[places_T][None], position_ids=places_T[None], use_cache=False, kv_cache=kv_cache
        )
        for _ in range(2):
            places_B1 = kv_cache.begin_step(self.device)
            out = self.decoder(
                input_ids=self.ids_T[places_B1], position_ids=places_B1, use_cache=False, kv_cache=kv_cache
            )
            done.append(out.last_hidden_state[:, 0])
        return torch.cat(done)

    def _from_own(self) -> torch.Tensor:
        done = []
        for count in PROMPTS:
            _, memory = model_parts.continue_with_own_cache(self.net, self.ids_T[:count], None)
            for place in (count, count + 1):
                hidden_TD, memory = model_parts.continue_with_own_cache(self.net, self.ids_T[place : place + 1], memory)
                done.append(hidden_TD)
        return torch.cat([done[i] for i in (0, 2, 1, 3)])

    def _differs(self, hidden: Callable[[], torch.Tensor], places: Any) -> str | None:
        expected = self.logits_TV[torch.tensor(list(places), device=self.device)]
        try:
            got = model_parts.head(self.net).logits(hidden())
        except (HafsError, TypeError, ValueError, AttributeError, RuntimeError, KeyError, IndexError) as error:
            return str(error).strip().splitlines()[0] or type(error).__name__
        if got.shape != expected.shape:
            return f"the logits have shape {list(got.shape)}, those of transformers {list(expected.shape)}"
        apart = float(_distance(got, expected).max())
        return None if apart <= self.tolerance else f"the logits differ from those of transformers by {apart:.0%}"


def _distance(got_TV: torch.Tensor, expected_TV: torch.Tensor) -> torch.Tensor:
    """Difference of logits at each position, relative to their spread; a constant shift does not count."""
    apart = got_TV - expected_TV
    apart = apart - apart.mean(-1, keepdim=True)
    spread = expected_TV - expected_TV.mean(-1, keepdim=True)
    return (apart.norm(dim=-1) / spread.norm(dim=-1)).nan_to_num(nan=float("inf"))
