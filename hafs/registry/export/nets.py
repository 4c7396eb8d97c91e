"""The original as nets: the adapter on its unquantized base, and as it was trained."""

import gc
from pathlib import Path
from typing import Any

import psutil
import torch

from hafs.core.errors import RunError
from hafs.modeling import hardware
from hafs.modeling.base_model import quiet_libraries
from hafs.modeling.generation import set_for_inference
from hafs.registry.export.source import Source


def exact_dtype(base: Path) -> torch.dtype:
    """float32 if three copies of the base fit in memory, else bfloat16."""
    stored = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    return torch.float32 if stored * 6 < psutil.virtual_memory().available else torch.bfloat16


def load(folder: Path, dtype: torch.dtype) -> Any:
    """A model in transformers' format, on the CPU, for inference; without PEFT."""
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()


def original(source: Source) -> Any:
    """The adapter on its unquantized base.

    Raises:
        RunError: Its tensors are not those of this base, or contain NaN or infinity.
    """
    if source.whole:
        return load(source.folder, exact_dtype(source.base))
    return put_on(load(source.base, exact_dtype(source.base)), source.folder)


def as_trained(source: Source) -> Any:
    """The adapter on the base as it was stored in training."""
    device = hardware.device("auto")
    dtype, _ = hardware.precision("auto", device)
    net = source.model.load(quant=source.quant, dtype=dtype, device=device)
    net.config._attn_implementation = "sdpa"
    net = put_on(net, source.folder)
    set_for_inference(net)
    return net


def put_on(net: Any, folder: Path) -> Any:
    """Attach an adapter to a net; PEFT alone would accept missing tensors with a warning.

    Raises:
        RunError: Its tensors are not those of this base, or contain NaN or infinity.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        net = PeftModel.from_pretrained(net, folder, low_cpu_mem_usage=False)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"{folder} does not fit its base: {str(error).splitlines()[0]}") from error
    stored, there = load_file(folder / "adapter_model.safetensors"), get_peft_model_state_dict(net)
    if stored.keys() != there.keys():
        missing = sorted(stored.keys() ^ there.keys())
        fact = f"{len(missing)} tensors differ, {missing[0]} the first"
        raise RunError(f"{folder} contains an adapter of another shape: {fact}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in stored.values()):
        raise RunError(f"{folder} contains NaN or infinity", hint="train it again")
    return net.eval()


def forget() -> None:
    """Free the memory of a dropped net."""
    gc.collect()
