"""One token of every row on a CPU, in few operations, for models whose layers are those of Llama.

A pass over few tokens is bound by reading the weights, and then by the number of its operations. Here 4-bit weights are
multiplied as they are, queries, keys and values are one product, gate and up another, and all adapters of a pass share
one low-rank product at each place. `fast_step_of` compares the result with the model's own before it is used.

Legend: `B` rows, `D` hidden width, `d` head width, `R` ranks.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from hafs.modeling import model_parts
from hafs.modeling.adapter.lora_forward import Share, chosen
from hafs.modeling.attention_rule import AttentionRule
from hafs.modeling.generation.branches import Branch, branch_of
from hafs.modeling.generation.products import NotProduct, Product, base_layer, extra_bytes, laid_out, product_of
from hafs.modeling.hardware.gpu_memory import spare_bytes
from hafs.modeling.head import OutputHead
from hafs.modeling.kv_cache import KVCache

log = logging.getLogger(__name__)

Names = Sequence[str | None]
PLACES = (("self_attn", ("q_proj", "k_proj", "v_proj")), ("self_attn", ("o_proj",)),
          ("mlp", ("gate_proj", "up_proj")), ("mlp", ("down_proj",)))  # fmt: skip
"""The linear layers of a decoder layer, by the input that they read."""
MODEL_TYPES = ("llama", "qwen2")
SHARE = 0.5
"""Of the free memory that laid out weights may take."""
TOLERANCE = {torch.float32: 1e-4}
"""Difference of logits relative to their spread (root mean square of both); in 16 bits `ROUGH`."""
ROUGH = 0.2
KEPT_PANELS = 8
"""Sets of adapters whose joined branches are kept."""


class StepLayer(NamedTuple):
    """One decoder layer."""

    qkv: Product
    out: Product
    gate_up: Product
    down: Product
    before_attention: torch.nn.Module
    before_mlp: torch.nn.Module


class FastStep:
    """The decoder and head of a model whose layers are those of Llama.

    Args:
        decoder: The model's own decoder; its embedding, rotation and norms are used as they are.
        head: The model's head.

    Raises:
        NotProduct: A weight is stored in a form that is not known here.
    """

    def __init__(self, decoder: Any, head: OutputHead) -> None:
        config = decoder.config
        self.decoder, self.head, self.layers = decoder, head, [_layer(layer) for layer in decoder.layers]
        self.head_product = laid_out(head.weight_VD.detach(), None)
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.rule = AttentionRule(scale=decoder.layers[0].self_attn.scaling)
        self._panels: dict[tuple[Any, ...], list[tuple[Branch | None, ...]]] = {}

    def hidden(self, ids_B1: torch.Tensor, places_B1: torch.Tensor, kv_cache: KVCache, adapters: Names) -> torch.Tensor:
        """Last hidden states, `[B, D]`.

        Args:
            ids_B1: The newest token of each row.
            places_B1: Its position.
            kv_cache: Planned for this pass.
            adapters: The adapter of each row.

        Raises:
            NotProduct: An adapter has branches that are more than two matrices.
        """
        B, x_BD = len(ids_B1), self.decoder.embed_tokens(ids_B1)[:, 0]
        cos_B1d, sin_B1d = self.decoder.rotary_emb(x_BD, places_B1)
        low, high = sin_B1d.chunk(2, -1)
        sin_B1d = torch.cat((-low, high), -1)
        branches, taken_B = self._taken(adapters)
        for index, layer in enumerate(self.layers):
            on = branches[index]
            qkv_BHd = _through(layer.qkv, _normed(x_BD, layer.before_attention), on[0], taken_B)
            qkv_BHd = qkv_BHd.view(B, -1, self.width)
            qk_BHd = qkv_BHd[:, : self.heads + self.groups]
            qk_BHd = (qk_BHd * cos_B1d).add_(qk_BHd.roll(self.width // 2, -1).mul_(sin_B1d))
            q, k, v = qk_BHd[:, : self.heads], qk_BHd[:, self.heads :], qkv_BHd[:, -self.groups :]
            seen_BD = kv_cache.attend(index, q[:, :, None], k[:, :, None], v[:, :, None], self.rule).view(B, -1)
            x_BD = x_BD + _through(layer.out, seen_BD, on[1], taken_B)
            gate, up = _through(layer.gate_up, _normed(x_BD, layer.before_mlp), on[2], taken_B).chunk(2, -1)
            x_BD = _through(layer.down, F.silu(gate).mul_(up), on[3], taken_B).add_(x_BD)
        return _normed(x_BD, self.decoder.norm)

    def logits(self, hidden_BD: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, `[B, V]`, float32."""
        return self.head.finish_(self.head_product(hidden_BD)).float()

    def _taken(self, adapters: Names) -> tuple[list[tuple[Branch | None, ...]], torch.Tensor | None]:
        """The branches of each layer for the adapters of a pass, and which of them each row takes; None: the only."""
        names = sorted({name for name in adapters if name is not None})
        branches = self._branches_of(names)
        if not names or (len(names) == 1 and None not in adapters):
            return branches, None
        taken = [len(names) if name is None else names.index(name) for name in adapters]
        return branches, torch.tensor(taken, device=self.head.weight_VD.device)

    def _branches_of(self, names: Sequence[str]) -> list[tuple[Branch | None, ...]]:
        held = _modules(self.decoder.layers[0], PLACES[0])
        key = tuple(id(module.lora_A[name]) for name in names for module in held if name in _downs(module))
        if (tuple(names), key) not in self._panels:
            while len(self._panels) >= KEPT_PANELS:
                self._panels.pop(next(iter(self._panels)))
            self._panels[tuple(names), key] = [
                tuple(branch_of(_modules(layer, place), names, self.head.weight_VD.dtype) for place in PLACES)
                for layer in self.decoder.layers
            ]
        return self._panels[tuple(names), key]


def fast_step_of(net: Any) -> FastStep | None:
    """The fast step of a model; None where it cannot be used, or would not compute what the model does.

    Args:
        net: A model as loaded, set for inference.
    """
    decoder, head = model_parts.decoder_of(net), model_parts.head(net)
    if not _knows(net, decoder, head):
        return None
    layers = [base_layer(module) for layer in decoder.layers for place in PLACES for module in _modules(layer, place)]
    try:
        needed, free = extra_bytes(layers) + 2 * head.weight_VD.numel(), spare_bytes(head.weight_VD.device)
        if free is not None and needed > SHARE * free:
            log.warning("answers are slower: %.1f GiB for fast steps do not fit in memory", needed / 2**30)
            return None
        step = FastStep(decoder, head)
    except (NotProduct, AttributeError):
        return None
    off = _difference(net, step)
    if off > TOLERANCE.get(head.weight_VD.dtype, ROUGH):
        log.warning("answers are slower: fast steps of this model differ from its own by %.1e", off)
        return None
    return step


def _knows(net: Any, decoder: Any, head: OutputHead) -> bool:
    config, mode = decoder.config, model_parts.run_mode(net)
    return (
        config.model_type in MODEL_TYPES
        and head.weight_VD.device.type == "cpu"
        and head.bias_V is None
        and mode.packs
        and (mode.attention, mode.cache) == ("hafs", "hafs")
        and config.hidden_act == "silu"
        and model_parts.rope_limit(net) is None
        and not any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ())
    )


@torch.no_grad()
@chosen([Share(None, slice(None))])
def _difference(net: Any, step: FastStep) -> float:
    """The difference of the logits of three steps from the model's own, relative to their spread."""
    kv_cache, tokens, sides = KVCache(), torch.arange(10, 26, device=step.head.weight_VD.device), []
    for fast in (False, True):
        kv_cache.begin_packed([(kv_cache.open(), len(tokens))])
        places_1T = torch.arange(len(tokens), device=tokens.device)[None]
        model_parts.decoder_of(net)(input_ids=tokens[None], position_ids=places_1T, use_cache=False, kv_cache=kv_cache)
        found = []
        for token in (7, 30, 100):
            places_B1 = kv_cache.begin_step(tokens.device)
            ids_B1 = torch.full_like(places_B1, token)
            if fast:
                found.append(step.logits(step.hidden(ids_B1, places_B1, kv_cache, [None] * len(ids_B1)))[0])
            else:
                out = step.decoder(input_ids=ids_B1, position_ids=places_B1, use_cache=False, kv_cache=kv_cache)
                found.append(step.head.logits(out.last_hidden_state[:, 0])[0])
        sides.append(torch.stack(found))
        kv_cache.clear()
    own, fast_ones = sides
    return float((own - fast_ones).std() / own.std())


def _layer(layer: Any) -> StepLayer:
    products = [product_of([base_layer(module) for module in _modules(layer, place)]) for place in PLACES]
    return StepLayer(*products, before_attention=layer.input_layernorm, before_mlp=layer.post_attention_layernorm)


def _modules(layer: Any, place: tuple[str, Sequence[str]]) -> list[Any]:
    parent, names = place
    return [getattr(getattr(layer, parent), name) for name in names]


def _downs(module: Any) -> Any:
    return getattr(module, "lora_A", {})


def _through(product: Product, x_BI: torch.Tensor, branch: Branch | None, taken_B: torch.Tensor | None) -> torch.Tensor:
    out_BO = product(x_BI)
    return out_BO if branch is None else branch.added(out_BO, x_BI, taken_B)


def _normed(x_BD: torch.Tensor, norm: Any) -> torch.Tensor:
    return F.rms_norm(x_BD, (x_BD.shape[-1],), norm.weight, norm.variance_epsilon)
