"""The low-rank branches of all adapters of a pass, as one pair of matrices per place.

Legend: `N` tokens, `I`/`O` width in and out, `R` ranks of all adapters, `K` adapters.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import LoraLayer

from hafs.modeling.adapter.lora_forward import is_plain
from hafs.modeling.generation.products import NotProduct, base_layer


class Branch(NamedTuple):
    """What adapters add to the outputs of layers that read the same input."""

    down_IR: torch.Tensor
    up_RO: torch.Tensor
    scale_KR: torch.Tensor
    """The factor of each rank for the tokens of each adapter; the last row, of zeros, is for tokens without."""
    alpha: float | None
    """The only factor, where all tokens take the only adapter."""

    def added(self, out_NO: torch.Tensor, x_NI: torch.Tensor, taken_N: torch.Tensor | None) -> torch.Tensor:
        """The outputs with the branch.

        Args:
            out_NO: The layers' outputs.
            x_NI: What they read.
            taken_N: The adapter of each token, a row of `scale_KR`; None: all take the only one.
        """
        down_NR = x_NI @ self.down_IR
        if taken_N is None and self.alpha is not None:
            return torch.addmm(out_NO, down_NR, self.up_RO, alpha=self.alpha)
        scale = self.scale_KR[0] if taken_N is None else self.scale_KR[taken_N]
        return torch.addmm(out_NO, down_NR.mul_(scale), self.up_RO)


def branch_of(modules: Sequence[Any], names: Sequence[str], dtype: torch.dtype) -> Branch | None:
    """The branches of adapters; None: they have none here.

    Args:
        modules: Layers that read the same input, their adapters included.
        names: The adapters of a pass.
        dtype: The type of products.

    Raises:
        NotProduct: A branch is more than two matrices.
    """
    sizes = [base_layer(module).out_features for module in modules]
    downs, ups, scales = [], [], []
    for k, name in enumerate(names):
        for place, module in enumerate(modules):
            if not isinstance(module, LoraLayer) or name not in module.lora_A:
                continue
            if not is_plain(module, name):
                raise NotProduct(f"{type(module).__name__} of {name}")
            down_RI, up_OR = (part[name].weight.data.to(dtype) for part in (module.lora_A, module.lora_B))
            up_RO = up_OR.new_zeros(up_OR.shape[1], sum(sizes))
            up_RO[:, sum(sizes[:place]) : sum(sizes[: place + 1])] = up_OR.T
            downs.append(down_RI)
            ups.append(up_RO)
            scales += [(k, module.scaling[name])] * len(down_RI)
    if not downs:
        return None
    scale_KR = downs[0].new_zeros(len(names) + 1, len(scales))
    for rank, (k, scale) in enumerate(scales):
        scale_KR[k, rank] = scale
    factors = {scale for _, scale in scales}
    alpha = factors.pop() if len(names) == len(factors) == 1 else None
    return Branch(down_IR=torch.cat(downs).T.contiguous(), up_RO=torch.cat(ups), scale_KR=scale_KR, alpha=alpha)
