"""What this machine computes on, and in which precision."""

import os
from typing import Literal, NamedTuple

import torch

from hafs.errors import ConfigError

Precision = Literal["auto", "bf16", "fp32"]


class Choice(NamedTuple):
    """A derived value and where it came from, for the header of a run."""

    value: torch.dtype
    why: str


def device(accelerator: str) -> torch.device:
    """The device of this process for Lightning's `accelerator`; with several processes, the one of its local rank.

    Raises:
        ConfigError: A GPU was asked for and none is there.
    """
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator asks for a GPU and torch sees none", hint="trainer=cpu, or trainer=auto")
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precision(wish: Precision, on: torch.device) -> Choice:
    """The type that products are computed in: bf16 where the hardware multiplies in it, else fp32.

    Args:
        wish: As configured.
        on: Where the model will run.
    """
    if wish != "auto":
        return Choice(torch.bfloat16 if wish == "bf16" else torch.float32, f"precision={wish}")
    if on.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice(torch.bfloat16, "the GPU multiplies in bf16")
        return Choice(torch.float32, "the GPU has no bf16")
    if on.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return Choice(torch.bfloat16, "the CPU has bf16 instructions")
    return Choice(torch.float32, f"no bf16 products on this {on.type}")
