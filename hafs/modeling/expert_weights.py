"""Experts that a layer holds in one tensor: bitsandbytes' quantization of linear layers leaves them in 16 bits.

`quantize_experts` gives them bitsandbytes' 4-bit form as well. They are unpacked whenever their layer runs, and
autograd keeps what was unpacked until the layer's backward pass: use gradient checkpointing with it.
"""

from collections.abc import Iterator

import torch

from hafs.modeling.quantization import Quant


def fused_experts(net: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, str]]:
    """Name and module of each tensor of experts, and its name in there."""
    for name, module in net.named_modules():
        for field, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 3 and "expert" in f"{name}.{field}":
                yield f"{name}.{field}", module, field


def quantize_experts(net: torch.nn.Module, quant: Quant) -> int:
    """Store each tensor of experts in 4 bits.

    Args:
        net: A model in 16 or 32 bits, where it was loaded.
        quant: The code, and whether scales are quantized too.

    Returns:
        How many tensors there were.
    """
    from bitsandbytes.nn.parametrize import replace_parameter_4bit

    found = list(fused_experts(net))
    for _, module, field in found:
        replace_parameter_4bit(module, field, compress_statistics=bool(quant.double), quant_type=quant.type or "nf4")
    return len(found)


def move_scales(net: torch.nn.Module, device: torch.device) -> None:
    """Move what `net.to(device)` leaves behind: the scales of quantized experts."""
    from bitsandbytes.nn.parametrize import Bnb4bitParametrization

    for module in net.modules():
        if isinstance(module, Bnb4bitParametrization):
            module.quant_state.to(device)


def quantized_targets(net: torch.nn.Module, targets: list[str]) -> list[str]:
    """Names of quantized experts that `target_parameters` means.

    PEFT 0.21 silently ignores the end of such a name, and cannot train the parameter of a full name.
    """
    return [
        full
        for name, module in net.named_modules()
        for field in getattr(module, "parametrizations", {})
        if any((full := f"{name}.{field}") == target or full.endswith(f".{target}") for target in targets)
    ]
