"""What a plan knows of a device: figures from its data sheet, in bytes, seconds and operations."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

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
