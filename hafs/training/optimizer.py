"""Optimizers. The stage sets the learning rate before every step."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

Share = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


def adamw(parameters: Iterable[Any], *, name: str, betas: Betas, eps: Positive, weight_decay: NonNegative) -> Any:
    """AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), in torch's fused form."""
    import torch

    return torch.optim.AdamW(
        _groups(parameters, weight_decay),
        lr=0.0,
        betas=(betas[0], betas[1]),
        eps=eps,
        weight_decay=weight_decay,
        fused=True,
    )


def paged_adamw_8bit(
    parameters: Iterable[Any], *, name: str, betas: Betas, eps: Positive, weight_decay: NonNegative
) -> Any:
    """AdamW with block-wise 8-bit states in pageable memory (Dettmers et al. 2021, arXiv 2110.02861)."""
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(
        _groups(parameters, weight_decay), lr=0.0, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay
    )


def _groups(parameters: Iterable[Any], weight_decay: float) -> list[Any]:
    """Weight decay is for matrices: it spares norms, biases and DoRA's magnitudes."""
    found = list(parameters)
    spared = [parameter for parameter in found if parameter.ndim < 2]
    if not weight_decay or not spared:
        return found
    matrices = [parameter for parameter in found if parameter.ndim >= 2]
    groups = [{"params": matrices}] if matrices else []
    return [*groups, {"params": spared, "weight_decay": 0.0}]
