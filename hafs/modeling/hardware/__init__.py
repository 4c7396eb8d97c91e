"""The hardware: memory and speed of a machine, from a config option or detected here; the device that torch uses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from hafs.core.errors import ConfigError
from hafs.core.launched import local_rank

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp16", "fp32"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Efficiency = Annotated[list[Share], Field(min_length=3, max_length=3)]

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One device for training; the files in `conf/hardware/` contain the figures with their sources."""

    name: str
    title: str
    device: Literal["cuda", "mps", "cpu"]
    memory_bytes: int
    """Memory of the device, as the driver reports it."""
    context_bytes: int
    """Memory that the driver and its libraries use before the first tensor."""
    bandwidth: float
    """Bytes per second."""
    bf16: float | None
    """Peak FLOP/s of dense bf16 products accumulated in float32; None: no bf16."""
    fp16: float | None = None
    """The same in fp16, which hafs uses on GPUs without bf16; None: not used."""
    fp32: float
    """The same in float32."""
    efficiency: tuple[float, float, float]
    """Share of the peak that training reaches: lowest, typical, highest."""
    watts: float
    """Power under load."""
    usd_per_hour: float | None
    """Rent per hour; None: not rented."""
    minimum_cuda: str | None = None
    """The oldest CUDA version whose torch builds support the device."""

    def rate(self, product_bytes: int) -> float:
        """Peak FLOP/s in bf16 or fp16 (2), or in float32 (4)."""
        return (self.bf16 or self.fp16 or self.fp32) if product_bytes == 2 else self.fp32


def machine(
    *,
    name: str,
    title: str,
    device: Literal["cuda", "mps", "cpu"],
    memory_gib: Positive,
    context_gib: Annotated[float, Field(ge=0)],
    bandwidth_gb_s: Positive,
    bf16_tflops: Positive | None,
    fp16_tflops: Positive | None,
    fp32_tflops: Positive,
    efficiency: Efficiency,
    watts: Positive,
    usd_per_hour: Positive | None,
    minimum_cuda: str | None,
) -> Hardware:
    """Hardware from figures in the units of data sheets."""
    return Hardware(
        name=name,
        title=title,
        device=device,
        memory_bytes=int(memory_gib * GIB),
        context_bytes=int(context_gib * GIB),
        bandwidth=bandwidth_gb_s * 1e9,
        bf16=bf16_tflops and bf16_tflops * 1e12,
        fp16=fp16_tflops and fp16_tflops * 1e12,
        fp32=fp32_tflops * 1e12,
        efficiency=(efficiency[0], efficiency[1], efficiency[2]),
        watts=watts,
        usd_per_hour=usd_per_hour,
        minimum_cuda=minimum_cuda,
    )


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
    from dataclasses import replace

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
