"""The hardware: memory and speed of a machine, from a config option or detected here; the device that torch uses."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from hafs.core.errors import ConfigError
from hafs.core.launched import local_rank
from hafs.modeling.hardware.data_sheet import GIB, Efficiency, Hardware, Positive, machine

if TYPE_CHECKING:
    import torch

__all__ = ["GIB", "Choice", "Hardware", "Precision", "device", "local", "machine"]

Precision = Literal["auto", "bf16", "fp16", "fp32"]


def local(
    *,
    name: str,
    title: None,
    device: None,
    memory_gib: Positive | None,
    context_gib: None,
    bandwidth_gb_s: Positive | None,
    bf16_tflops: Positive | None,
    fp16_tflops: Positive | None,
    fp32_tflops: Positive | None,
    efficiency: Efficiency | None,
    watts: Positive | None,
    usd_per_hour: Positive | None,
    minimum_cuda: None,
) -> Hardware:
    """This machine; null values are detected."""
    from hafs.modeling.hardware.detect import detected

    found = detected()
    wished = {
        "memory_bytes": memory_gib and int(memory_gib * GIB),
        "bandwidth": bandwidth_gb_s and bandwidth_gb_s * 1e9,
        "bf16": bf16_tflops and bf16_tflops * 1e12,
        "fp16": fp16_tflops and fp16_tflops * 1e12,
        "fp32": fp32_tflops and fp32_tflops * 1e12,
        "efficiency": efficiency and tuple(efficiency),
        "watts": watts,
        "usd_per_hour": usd_per_hour,
    }
    return replace(found, name=name, **{key: value for key, value in wished.items() if value is not None})


class Choice(NamedTuple):
    """A derived value and where it came from, for the header of a run."""

    value: "torch.dtype"
    why: str


def device(accelerator: str) -> "torch.device":
    """The device of this process for Lightning's `accelerator`; with several processes, the one of its local rank.

    Raises:
        ConfigError: A GPU was asked for and none is there.
    """
    import torch

    metal = torch.backends.mps.is_available()
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available() and not (metal and accelerator == "gpu"):
        raise ConfigError(
            "trainer.accelerator requires a GPU, and torch finds none", hint="trainer=cpu, or trainer=auto"
        )
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", local_rank())
    if accelerator in ("auto", "gpu", "mps") and metal:
        return torch.device("mps")
    return torch.device("cpu")


def precision(wish: Precision, on: "torch.device") -> Choice:
    """The type of matrix products: bf16 if the hardware supports it, fp16 on other GPUs, else fp32.

    Args:
        wish: As configured.
        on: Where the model will run.
    """
    import torch

    if wish != "auto":
        types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
        return Choice(types[wish], f"precision={wish}")
    if on.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice(torch.bfloat16, "the GPU supports bf16")
        if torch.cuda.get_device_capability(on) >= (7, 0):
            return Choice(torch.float16, "the GPU does not support bf16")
        return Choice(torch.float32, "the GPU is no faster in fp16")
    if on.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return Choice(torch.bfloat16, "the CPU has bf16 instructions")
    return Choice(torch.float32, f"this {on.type} does not support bf16 matrix products")
