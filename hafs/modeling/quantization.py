"""How the frozen base is stored: bitsandbytes' 4-bit and 8-bit forms, or not quantized."""

from dataclasses import dataclass
from typing import Any, Literal

from hafs.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Quant:
    """A storage form of the base's linear layers."""

    name: str
    """As in `quant=`."""
    bits: Literal[4, 8] | None
    """Bits of one weight; None: not quantized."""
    type: Literal["nf4", "fp4"] | None
    """The 4-bit code."""
    double: bool | None
    """Whether the scales are quantized too (saves 0.37 bits per weight)."""
    experts: bool | None = None
    """Whether experts that a layer holds in one tensor are quantized too."""

    def config(self, compute_dtype: Any) -> Any:
        """What `from_pretrained(quantization_config=)` takes; None for no quantization.

        Args:
            compute_dtype: The torch type that products are computed in.
        """
        from transformers import BitsAndBytesConfig

        if self.bits == 8:
            return BitsAndBytesConfig(load_in_8bit=True)
        if self.bits == 4:
            return BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type=self.type or "nf4",
                bnb_4bit_use_double_quant=bool(self.double),
                bnb_4bit_compute_dtype=compute_dtype,
            )
        return None


def bitsandbytes(
    *,
    name: str,
    bits: Literal[4, 8] | None,
    type: Literal["nf4", "fp4"] | None,
    double: bool | None,
    experts: bool | None = None,
) -> Quant:
    """The storage form that the `quant` group names. Its options have no key `experts`, as older runs have none.

    Raises:
        ConfigError: 4 bits without a code, or experts in another form.
    """
    if bits == 4 and type is None:
        raise ConfigError("quant.bits=4 requires quant.type", hint="quant=nf4 or quant=fp4")
    if experts and bits != 4:
        raise ConfigError("quant.experts=true requires 4 bits", hint="quant=nf4 or quant=fp4")
    return Quant(name=name, bits=bits, type=type, double=double, experts=experts)
