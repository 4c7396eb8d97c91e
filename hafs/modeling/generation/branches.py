"""The low-rank branches of all adapters of a pass, as one pair of matrices per place.

Legend: `N` tokens, `I`/`O` width in and out, `R` ranks of all adapters, `K` adapters.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import LoraLayer

from hafs.modeling.adapter.lora_forward import is_plain
from hafs.modeling.generation.products import NotProduct, Product, Sum, added_to, base_layer, laid_out


class Branch(NamedTuple):
    """What adapters add to the outputs of layers that read the same input."""

    down: Product
    """`x_NI -> down_NR`."""
    up: Sum
    """`out_NO, down_NR -> out_NO`, the factors of the adapters included."""
    kept_KR: torch.Tensor
    """1 for the ranks of each adapter; the last row, of zeros, is for tokens without an adapter."""

    def added(self, out_NO: torch.Tensor, x_NI: torch.Tensor, taken_N: torch.Tensor | None) -> torch.Tensor:
        """The outputs with the branch.

        Args:
            out_NO: The layers' outputs.
            x_NI: What they read.
            taken_N: The adapter of each token, a row of `kept_KR`; None: all take the only one.
        """
        down_NR = self.down(x_NI)
        return self.up(out_NO, down_NR if taken_N is None else down_NR.mul_(self.kept_KR[taken_N]))


def _matrices(module: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return module.lora_A[name].weight.data, module.lora_B[name].weight.data


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
    downs, ups, ranks = [], [], []
    for k, name in enumerate(names):
        for place, module in enumerate(modules):
            if not isinstance(module, LoraLayer) or name not in module.lora_A:
                continue
            if not is_plain(module, name):
                raise NotProduct(f"{type(module).__name__} of {name}")
            down_RI, up_OR = _matrices(module, name)
            up_RO = up_OR.new_zeros(len(down_RI), sum(sizes), dtype=dtype)
            up_RO[:, sum(sizes[:place]) : sum(sizes[: place + 1])] = (up_OR.float() * module.scaling[name]).T
            downs.append(down_RI.to(dtype))
            ups.append(up_RO)
            ranks += [k] * len(down_RI)
    if not downs:
        return None
    kept_KR = torch.arange(len(names) + 1)[:, None] == torch.tensor(ranks)[None]
    return Branch(down=laid_out(torch.cat(downs), None), up=added_to(torch.cat(ups)), kept_KR=kept_KR.to(dtype))
