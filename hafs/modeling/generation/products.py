"""Products with the weights of linear layers, as fast as a CPU reads the weights of a few tokens' pass.

4-bit weights stay in 4 bits where bitsandbytes has a kernel that multiplies with them (AVX512-BF16); it rounds the
scale of a block to bf16. Other weights, and 4-bit ones elsewhere, are laid out once in 16 bits as oneDNN reads them.

Legend: `N` tokens, `I`/`O` width in and out.
"""

from collections.abc import Callable, Sequence
from copy import copy
from ctypes import c_int64, c_void_p
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer

Product = Callable[[torch.Tensor], torch.Tensor]
"""`x_NI -> out_NO`."""
Sum = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`out_NO, x_NI -> out_NO`."""
BLOCK = 32
"""The kernel for 4 bits takes outputs in blocks of this many."""
FEW = 32
"""Up to so many tokens go through the kernel for 4 bits; for more, unpacking the weights costs less."""


class NotProduct(Exception):
    """A layer is more than a product, or its weight is stored in a form that is not known here."""


def base_layer(module: Any) -> Any:
    """A layer without its adapters."""
    return module.get_base_layer() if isinstance(module, LoraLayer) else module


def product_of(layers: Sequence[Any]) -> Product:
    """The outputs of linear layers that read the same input, side by side, as one product.

    Raises:
        NotProduct: One is stored in a form that is not known here.
    """
    if all(_in_four_bits(layer) for layer in layers):
        return _four_bits(layers)
    weights = [_weight_of(layer) for layer in layers]
    return laid_out(torch.cat(weights), _bias_of(layers, weights))


def extra_bytes(layers: Sequence[Any]) -> int:
    """The memory that `product_of` takes beside the layers."""
    sizes = [(layer.in_features * layer.out_features, _in_four_bits(layer)) for layer in layers]
    return sum(size // 2 if packed else 2 * size for size, packed in sizes)


def laid_out(weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> Product:
    """A product with a weight; in bf16 on a CPU the weight is copied as oneDNN reads it, and the result is the same."""
    if weight_OI.dtype != torch.bfloat16 or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return lambda x_NI: F.linear(x_NI, weight_OI, bias_O)
    packed, product = torch.ops.mkldnn._reorder_linear_weight(weight_OI, 2), torch.ops.mkldnn._linear_pointwise
    return lambda x_NI: product(x_NI, packed, bias_O, "none", [], "")


def added_to(weight_IO: torch.Tensor) -> Sum:
    """The sum of a matrix and a product with a weight, rounded once; laid out like that of `laid_out`."""
    if weight_IO.dtype != torch.bfloat16 or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return lambda out_NO, x_NI: torch.addmm(out_NO, x_NI, weight_IO)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_IO.T.contiguous(), 2)
    product = torch.ops.mkldnn._linear_pointwise.binary
    return lambda out_NO, x_NI: product(x_NI, out_NO, packed, None, "add")


def _in_four_bits(layer: Any) -> bool:
    from bitsandbytes.functional import has_avx512bf16
    from bitsandbytes.nn import Linear4bit

    weight: Any = layer.weight
    if not isinstance(layer, Linear4bit) or weight.quant_state is None or not has_avx512bf16():
        return False
    whole = layer.out_features % BLOCK == 0 and layer.in_features % weight.quant_state.blocksize == 0
    return weight.quant_state.dtype == torch.bfloat16 and whole


def _four_bits(layers: Sequence[Any]) -> Product:
    from bitsandbytes.functional import _convert_weight_packed_for_cpu

    packed = [
        _convert_weight_packed_for_cpu(layer.weight.data, copy(layer.weight.quant_state), BLOCK) for layer in layers
    ]
    weight = torch.cat([data for data, _ in packed])
    scales = torch.cat([state.absmax for _, state in packed], 1).contiguous()
    state = packed[0][1]
    bias_O = _bias_of(layers, [weight.new_empty(layer.out_features, 0, dtype=torch.bfloat16) for layer in layers])
    multiply = _kernel(weight, scales, state)

    def product(x_NI: torch.Tensor) -> torch.Tensor:
        if len(x_NI) > FEW:
            return F.linear(x_NI, torch.cat([_weight_of(layer) for layer in layers]), bias_O)
        out_NO = multiply(x_NI)
        return out_NO if bias_O is None else out_NO.add_(bias_O)

    return product


def _kernel(weight: torch.Tensor, scales: torch.Tensor, state: Any) -> Product:
    """The kernel of bitsandbytes, without the checks of its operator, which take longer than a small product."""
    from bitsandbytes.cextension import lib

    width_out, width_in = len(weight), 2 * weight.shape[1]
    run = getattr(lib, f"gemv_4bit_inference_cpu_{state.quant_type}_bf16", None)
    if run is None:
        operator, shape = torch.ops.bitsandbytes.gemv_4bit.default, [width_out, width_in]
        return lambda x_NI: operator(x_NI, weight, shape, scales, state.code, state.blocksize)
    sizes, block = (c_int64(width_out), c_int64(width_in)), c_int64(state.blocksize)
    at_weight, at_scales = c_void_p(weight.data_ptr()), c_void_p(scales.data_ptr())

    def product(x_NI: torch.Tensor) -> torch.Tensor:
        assert weight is not None and scales is not None  # they live as long as this function
        x_NI = x_NI.contiguous()
        out_NO = x_NI.new_empty(len(x_NI), width_out)
        at_x, at_out = c_void_p(x_NI.data_ptr()), c_void_p(out_NO.data_ptr())
        run(c_int64(len(x_NI)), *sizes, at_x, at_weight, at_scales, at_out, block, sizes[1], sizes[0])
        return out_NO

    return product


def _weight_of(layer: Any) -> torch.Tensor:
    """The weight of a linear layer, `[O, I]`; 4 bits are unpacked."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    weight: Any = layer.weight
    if isinstance(layer, Linear4bit) and weight.quant_state is not None:
        return dequantize_4bit(weight.data, weight.quant_state)
    if type(layer) is torch.nn.Linear:
        return layer.weight.data
    raise NotProduct(type(layer).__name__)


def _bias_of(layers: Sequence[Any], like: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """The biases side by side; zeros for a layer without, None if no layer has one."""
    if all(layer.bias is None for layer in layers):
        return None
    return torch.cat(
        [
            weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.data.to(weight.dtype)
            for layer, weight in zip(layers, like, strict=True)
        ]
    )
