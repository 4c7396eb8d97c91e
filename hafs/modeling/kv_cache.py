"""The KV cache of many answers that are generated concurrently, one slot each, and attention over it.

Nothing is padded: a prompt goes through the model with others in one packed sequence, and from then on its answer is
one row of a batch, whatever the lengths of the other rows. Rows begin and end between two passes.

Legend: `B` rows, `H` query heads, `G` key-value heads, `r` query heads of one of these, `T` tokens of a pass, `S` room
of a slot, `d` head width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from hafs.modeling.attention_rule import AttentionRule, Reach, UnknownAttention
from hafs.modeling.causal_attention import for_each_head, one_sample
from hafs.modeling.rule_attention import ruled

STRIDE = 64
"""Rooms are multiples of it, so that a sum over keys has the same order however long the other rows are."""

FEW = 4
"""The keys of so many rows are stored row by row, which takes less time than one store by index."""


class Span(NamedTuple):
    """Tokens of a packed sequence that belong to one slot."""

    slot: int
    past: int
    """Tokens that are in the slot already."""
    count: int
    """New tokens of this pass."""


class KVCache:
    """The cache of one model; slot `i` is row `i` of the batch, and rows are kept together at the front."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}
        self._rows = self._room = 0
        self._spans: Sequence[Span] | None = None
        self._places: tuple[torch.Tensor, torch.Tensor] | None = None
        self._mask_B11S: torch.Tensor | None = None
        self._added_mask: torch.Tensor | None = None

    def open(self) -> int:
        """A new empty slot, the last."""
        self.lengths.append(0)
        return len(self.lengths) - 1

    def copy(self, slot: int) -> int:
        """A new slot that holds what `slot` holds."""
        new, count = self.open(), self.lengths[slot]
        self._make_room(len(self.lengths), count)
        for cache in (*self._keys.values(), *self._values.values()):
            cache[new, :, :count] = cache[slot, :, :count]
        self.lengths[new] = count
        return new

    def close(self, slot: int) -> None:
        """Drop a slot; the last one moves into its place."""
        last = len(self.lengths) - 1
        count = self.lengths[last]
        if slot != last:
            for cache in (*self._keys.values(), *self._values.values()):
                cache[slot, :, :count] = cache[last, :, :count]
            self.lengths[slot] = count
        self.lengths.pop()

    def clear(self) -> None:
        """Drop every slot and free the memory."""
        self.__init__()

    # one pass -------------------------------------------------------------------------------------------------------

    def begin_packed(self, counts: Sequence[tuple[int, int]]) -> list[Span]:
        """Plan a pass over one packed sequence of (slot, tokens) pairs."""
        self._spans = [Span(slot, self.lengths[slot], count) for slot, count in counts]
        self._make_room(len(self.lengths), max(span.past + span.count for span in self._spans))
        for span in self._spans:
            self.lengths[span.slot] += span.count
        return list(self._spans)

    def begin_step(self, device: torch.device) -> torch.Tensor:
        """Plan a pass over one token of every slot; returns the tokens' positions, `[B, 1]`.

        A single slot gets a second row that is ignored: products of one row round differently from those of several.
        """
        self._spans = None
        places = self.lengths if len(self.lengths) > 1 else [*self.lengths, 0]
        positions_B = torch.tensor(places, device=device)
        self._make_room(len(places), max(self.lengths) + 1)
        room = rounded(max(self.lengths) + 1)
        mask_BS = torch.arange(room, device=device)[None] <= positions_B[:, None]
        self._mask_B11S, self._added_mask = mask_BS[:, None, None], None
        self._places = (torch.arange(len(places), device=device), positions_B)
        self.lengths = [length + 1 for length in self.lengths]
        return positions_B[:, None]

    def attend(
        self, layer: int, q_BHTd: torch.Tensor, k_BGTd: torch.Tensor, v_BGTd: torch.Tensor, rule: AttentionRule
    ) -> torch.Tensor:
        """Store the new keys and values of a layer and attend; `[B, T, H, d]`.

        Raises:
            UnknownAttention: The rule has a bias, which does not cover earlier tokens.
        """
        if rule.bias_HTS is not None:
            raise UnknownAttention("the attention has a position bias, which the KV cache does not support")
        if layer not in self._keys:
            shape = (self._rows, k_BGTd.shape[1], self._room)
            self._keys[layer] = k_BGTd.new_zeros(*shape, k_BGTd.shape[3])
            self._values[layer] = v_BGTd.new_zeros(*shape, v_BGTd.shape[3])
        if self._spans is None:
            return self._attend_step(layer, q_BHTd, k_BGTd, v_BGTd, rule)
        return self._attend_packed(layer, q_BHTd[0], k_BGTd[0], v_BGTd[0], rule)[None]

    def _attend_step(self, layer, q_BH1d, k_BG1d, v_BG1d, rule):
        assert self._places is not None and self._mask_B11S is not None
        rows_B, positions_B = self._places
        keys, values = self._keys[layer], self._values[layer]
        if len(self.lengths) <= FEW:
            for row, length in enumerate(self.lengths):
                keys[row, :, length - 1] = k_BG1d[row, :, 0]
                values[row, :, length - 1] = v_BG1d[row, :, 0]
        else:
            keys[rows_B, :, positions_B] = k_BG1d[:, :, 0]
            values[rows_B, :, positions_B] = v_BG1d[:, :, 0]
        (B, H, _, d), G, S = q_BH1d.shape, keys.shape[1], self._mask_B11S.shape[-1]
        q_BGrd = q_BH1d.reshape(B, G, H // G, d)  # the heads of a group are rows that read its keys once: 6x as fast
        if rule.reach.covers(S):
            k_BGSd, v_BGSd, mask_B11S = keys[:B, :, :S], values[:B, :, :S], self._mask_B11S
        else:
            k_BGSd, v_BGSd, mask_B11S = self._within_reach(keys, values, rule.reach)
        if rule.softcap is not None or rule.sinks_H is not None:
            out_BGrd = _step_by_hand(q_BGrd, k_BGSd, v_BGSd, mask_B11S, rule)
        else:
            mask_B1rS = self._added(mask_B11S, q_BGrd).expand(B, 1, H // G, k_BGSd.shape[2])
            out_BGrd = F.scaled_dot_product_attention(q_BGrd, k_BGSd, v_BGSd, attn_mask=mask_B1rS, scale=rule.scale)
        return out_BGrd.reshape(B, 1, H, v_BG1d.shape[3])

    def _added(self, mask_B11S: torch.Tensor, q_BGrd: torch.Tensor) -> torch.Tensor:
        """The mask as what is added to the scores, made once for all layers; what attention makes of it otherwise."""
        if mask_B11S is not self._mask_B11S:
            return mask_B11S
        if self._added_mask is None or self._added_mask.dtype != q_BGrd.dtype:
            blank = torch.zeros(mask_B11S.shape, dtype=q_BGrd.dtype, device=q_BGrd.device)
            self._added_mask = blank.masked_fill_(~mask_B11S, float("-inf"))
        return self._added_mask

    def _within_reach(self, keys, values, reach: Reach):
        """The keys and values that the newest token of each row attends to; the cost of a window is its width."""
        assert self._places is not None
        rows_B, positions_B = self._places
        count = min(size for size in reach if size)
        back_W = torch.arange(count - 1, -1, -1, device=rows_B.device)
        places_BW = positions_B[:, None] - back_W
        seen_BW = (places_BW >= 0) & reach.seen(positions_B[:, None], places_BW)[:, 0]
        index = (rows_B[:, None], slice(None), places_BW.clamp(min=0))
        return keys[index].transpose(1, 2), values[index].transpose(1, 2), seen_BW[:, None, None]

    def _attend_packed(self, layer, q_HTd, k_GTd, v_GTd, rule):
        keys, values, start, done = self._keys[layer], self._values[layer], 0, []
        for slot, past, count in self._spans or ():
            stop, end = start + count, past + count
            keys[slot, :, past:end] = k_GTd[:, start:stop]
            values[slot, :, past:end] = v_GTd[:, start:stop]
            q_HTd_here = q_HTd[:, start:stop]
            if not rule.plain(end):
                out_HTd = ruled(q_HTd_here, keys[slot, :, :end], values[slot, :, :end], rule)
            elif past:
                out_HTd = _after(q_HTd_here, keys[slot, :, :end], values[slot, :, :end], past, rule.scale)
            else:
                out_HTd = one_sample(q_HTd_here, k_GTd[:, start:stop], v_GTd[:, start:stop], rule.scale)
            done.append(out_HTd.transpose(0, 1))
            start = stop
        return torch.cat(done)

    def _make_room(self, rows: int, tokens: int) -> None:
        """Grow by half at a time."""
        if rows <= self._rows and tokens <= self._room:
            return
        if rows > self._rows:
            rows = max(rows, self._rows + self._rows // 2)
        if tokens > self._room:
            tokens = max(tokens, self._room + self._room // 2)
        old_rows, old_room = self._rows, self._room
        self._rows, self._room = max(rows, old_rows), max(rounded(tokens), old_room)
        for caches in (self._keys, self._values):
            for layer, cache in caches.items():
                grown = cache.new_zeros(self._rows, cache.shape[1], self._room, cache.shape[3])
                grown[:old_rows, :, :old_room] = cache
                caches[layer] = grown


def rounded(tokens: int) -> int:
    """The room of a slot that holds so many tokens."""
    return -(-tokens // STRIDE) * STRIDE


def _after(q_HTd: torch.Tensor, k_GSd: torch.Tensor, v_GSd: torch.Tensor, past: int, scale: float) -> torch.Tensor:
    """Causal attention of tokens that come after `past` others."""
    T, S = q_HTd.shape[1], k_GSd.shape[1]
    seen_TS = torch.ones(T, S, dtype=torch.bool, device=q_HTd.device).tril_(past)
    grouped = q_HTd.device.type == "cpu"  # no kernel of a GPU takes both a mask and groups
    k, v = (k_GSd, v_GSd) if grouped else (for_each_head(k_GSd, q_HTd), for_each_head(v_GSd, q_HTd))
    return F.scaled_dot_product_attention(
        q_HTd[None], k[None], v[None], attn_mask=seen_TS, scale=scale, enable_gqa=grouped
    )[0]


def _step_by_hand(q_BGrd, k_BGSd, v_BGSd, mask_B11S, rule: AttentionRule) -> torch.Tensor:
    """Attention of one token of each row, with explicit scores."""
    scores_BGrS = torch.matmul(q_BGrd, k_BGSd.transpose(2, 3)).float() * rule.scale
    if rule.softcap is not None:
        scores_BGrS = torch.tanh(scores_BGrS / rule.softcap) * rule.softcap
    scores_BGrS = scores_BGrS.masked_fill(~mask_B11S, float("-inf"))
    if rule.sinks_H is not None:
        sinks_Gr1 = rule.sinks_H.float().view(*q_BGrd.shape[1:3], 1)
        with_sinks = torch.cat([scores_BGrS, sinks_Gr1.expand(len(q_BGrd), -1, -1, 1)], -1)
        weights_BGrS = torch.softmax(with_sinks, -1)[..., :-1]
    else:
        weights_BGrS = torch.softmax(scores_BGrS, -1)
    return torch.matmul(weights_BGrS.to(v_BGSd.dtype), v_BGSd)
