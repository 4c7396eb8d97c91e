"""The vocabulary projection as the model computes it: a matrix product, then scale and softcap in some models.

Legend: `N` positions, `D` hidden width, `V` vocabulary.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F


@dataclass(frozen=True, kw_only=True)
class OutputHead:
    """`cap(scale * (hidden_ND @ weight_VD.T + bias_V))`; its softmax is the distribution of the next token."""

    weight_VD: torch.Tensor
    bias_V: torch.Tensor | None = None
    scale: float = 1.0
    """Granite divides its logits, Cohere and Falcon-H1 multiply theirs, MiniCPM3 divides what goes in."""
    cap: float | None = None
    """Logits become `cap * tanh(logits / cap)`: Gemma 2, 3n and 4, nanochat."""

    @property
    def is_product(self) -> bool:
        """Whether the head is a matrix product only."""
        return self.bias_V is None and self.scale == 1.0 and self.cap is None

    def to(self, dtype: torch.dtype) -> "OutputHead":
        """The head with its parameters in another type."""
        bias = None if self.bias_V is None else self.bias_V.to(dtype)
        return replace(self, weight_VD=self.weight_VD.to(dtype), bias_V=bias)

    def finish_(self, product_NV: torch.Tensor) -> torch.Tensor:
        """Turn `hidden_ND @ weight_VD.T` into logits, in place."""
        if self.bias_V is not None:
            product_NV += self.bias_V
        if self.scale != 1.0:
            product_NV *= self.scale
        if self.cap is not None:
            product_NV.div_(self.cap).tanh_().mul_(self.cap)
        return product_NV

    def slope(self, logits_NV: torch.Tensor) -> torch.Tensor | float | None:
        """Derivative of the logits with respect to the biased product; None stands for 1."""
        if self.cap is None:
            return None if self.scale == 1.0 else self.scale
        return (logits_NV / self.cap).square_().neg_().add_(1).mul_(self.scale)

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Logits of the next token, `[N, V]`, float32; without gradients."""
        if self.is_product:
            return F.linear(hidden_ND, self.weight_VD).float()
        return self.finish_(F.linear(hidden_ND, self.weight_VD)).float()


def head_of(base: Any) -> OutputHead:
    """The head of a causal language model of transformers, as its config describes it.

    `guard.py` compares the result with the model's own logits when a model is loaded.
    """
    projection, config = base.get_output_embeddings(), base.config.get_text_config(decoder=True)
    weight_VD, bias_V = projection.weight, getattr(projection, "bias", None)
    rows = getattr(config, "unpadded_vocab_size", None)
    if rows is not None and rows < len(weight_VD):
        weight_VD, bias_V = weight_VD[:rows], None if bias_V is None else bias_V[:rows]
    return OutputHead(
        weight_VD=weight_VD,
        bias_V=bias_V,
        scale=_scale(config) * (getattr(base, "logit_scale", None) or 1.0),
        cap=next((float(cap) for name in _CAPS if (cap := getattr(config, name, None))), None),
    )


_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_SCALING_MULTIPLIES = ("hyperclovax",)
"""Types that multiply by `logits_scaling`; Granite and MiniCPM3 divide by it."""


def _scale(config: Any) -> float:
    scale = getattr(config, "lm_head_multiplier", None) or 1.0
    scale /= getattr(config, "logits_mup_width_multiplier", None) or 1.0
    scaling = getattr(config, "logits_scaling", None) or 1.0
    return scale * scaling if config.model_type in _SCALING_MULTIPLIES else scale / scaling
