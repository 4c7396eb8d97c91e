"""A LoRA adapter as GGUF."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hafs.core.errors import ConfigError, RunError
from hafs.modeling.adapter.folder import read_config, read_tensors, same_base, scaling
from hafs.modeling.gguf.architecture import names_of, read_shape
from hafs.modeling.gguf.files import Kind, stored, write_tensors, writing


def write_adapter(adapter: Path, base: Path, target: Path, *, kind: Kind = "f32") -> Path:
    """Write a LoRA adapter for llama.cpp's `--lora`.

    Args:
        adapter: A folder in PEFT's format.
        base: Its base model in transformers' format; only the shapes of its tensors are read.
        target: The file to write; it appears only when it is complete.
        kind: How its matrices are stored.

    Raises:
        ConfigError: It is more than a plain LoRA of linear layers.
        RunError: It is damaged, or was trained on another base model.
    """
    shape, config = read_shape(base), read_config(adapter)
    if extra := more_than_lora(config):
        fact = f"{adapter} is not a plain LoRA ({extra}); llama.cpp cannot load it"
        raise ConfigError(fact, hint="merge it into its base model and export that as GGUF")
    same_base(adapter, config, str(base))
    pairs = _pairs(read_tensors(adapter))
    _compare_with_base(adapter, pairs, base)
    alpha = float(config["lora_alpha"])
    names, ready = names_of(shape), {}
    for layer, (a_RI, b_OR) in pairs.items():
        factor = scaling(config, layer, a_RI.shape[0]) * a_RI.shape[0] / alpha  # llama.cpp scales by alpha / rank
        ready[f"{names(layer)}.weight.lora_a"] = a_RI
        ready[f"{names(layer)}.weight.lora_b"] = shape.reordered(layer, b_OR) * b_OR.dtype.type(factor)
    with writing(target, shape.architecture) as writer:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        write_tensors(writer, {key: (lambda value=value: value, value.shape) for key, value in ready.items()}, kind)
    return target


def more_than_lora(config: Mapping[str, Any]) -> str:
    """The key of an adapter's config that makes it more than pairs of matrices; empty for a plain LoRA."""
    bias = ("bias",) if config.get("bias") not in (None, "none") else ()
    return next((key for key in (*bias, "use_dora", "modules_to_save", "lora_bias") if config.get(key)), "")


def _pairs(tensors: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`{layer: (A, B)}` of an adapter's tensors."""
    found: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        layer, mark, _ = key.removeprefix("base_model.model.").rpartition(".lora_")
        side = key.rsplit("lora_", 1)[-1].split(".")[0]
        if not mark or side not in ("A", "B") or tensor.ndim != 2:
            raise ConfigError(f"{key!r} of the adapter is not a LoRA matrix of a linear layer")
        found.setdefault(layer, {})[side] = tensor
    return {layer: (sides["A"].float().numpy(), sides["B"].float().numpy()) for layer, sides in found.items()}


def _compare_with_base(adapter: Path, pairs: Mapping[str, tuple[Any, Any]], base: Path) -> None:
    with stored(base) as tensors:
        shapes = {key.removesuffix(".weight"): stored.shape for key, stored in tensors.items()}
    for layer, (a_RI, b_OR) in pairs.items():
        wanted = shapes.get(layer)
        if wanted != (b_OR.shape[0], a_RI.shape[1]):
            raise RunError(
                f"{adapter} was trained on another base model: {layer} is {[b_OR.shape[0], a_RI.shape[1]]} there, "
                f"{list(wanted) if wanted else 'missing'} in {base}",
                hint="use the model it was trained on",
            )
