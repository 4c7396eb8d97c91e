"""A base model in llama.cpp's terms: its shape, its tensor names, its rotary embeddings."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafs.core.errors import ConfigError
from hafs.modeling.gguf.files import Kind, Ready

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "gemma3_text": "gemma3"}
"""By model type of transformers: llama.cpp's name."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a conversion needs to know about a base model."""

    config: Mapping[str, Any]
    """Its `config.json`."""

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the model type."""
        return ARCHITECTURES[self.config["model_type"]]

    @property
    def layers(self) -> int:
        """Decoder layers."""
        return self.config["num_hidden_layers"]

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.config["num_attention_heads"]

    @property
    def groups(self) -> int:
        """Key-value heads."""
        return self.config.get("num_key_value_heads") or self.heads

    @property
    def width(self) -> int:
        """Width of one head."""
        return self.config.get("head_dim") or self.config["hidden_size"] // self.heads

    def values(self, name: str, tensor: Any) -> Any:
        """The values of a tensor as llama.cpp uses them.

        Args:
            name: transformers' name of the module.
            tensor: Its weight or bias.
        """
        if self.architecture == "gemma3" and name.endswith("norm"):
            return tensor + 1  # transformers adds it in the forward pass
        return self.reordered(name, tensor)

    def reordered(self, name: str, tensor: Any) -> Any:
        """A tensor in llama.cpp's row order: its Llama rotates neighbouring rows, that of transformers rotates halves.

        Args:
            name: transformers' name of the layer.
            tensor: Rows are outputs of the layer.
        """
        heads = {"q_proj": self.heads, "k_proj": self.groups}.get(name.rsplit(".", 1)[-1])
        if self.architecture != "llama" or heads is None:
            return tensor
        halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
        return halves.swapaxes(1, 2).reshape(tensor.shape)


def read_shape(folder: Path) -> Shape:
    """Read the shape of a base model in transformers' format.

    Raises:
        ConfigError: hafs does not convert this architecture.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") not in ARCHITECTURES:
        raise ConfigError(
            f"a model of type {config.get('model_type')!r} cannot be written as GGUF; supported: "
            + ", ".join(ARCHITECTURES),
            hint="llama.cpp's own convert_hf_to_gguf.py supports more architectures",
        )
    if config.get("use_sliding_window"):
        raise ConfigError("hafs cannot write a model with sliding-window attention as GGUF")
    if config["model_type"] == "gemma3_text":
        _as_llama_cpp_knows_gemma(config)
    return Shape(config=config)


GEMMA_PERIOD = 6
"""Every sixth layer of Gemma 3 has no sliding window. llama.cpp assumes that and reads no other pattern from a file."""


def _as_llama_cpp_knows_gemma(config: Mapping[str, Any]) -> None:
    layers = range(1, config["num_hidden_layers"] + 1)
    kinds = ["full_attention" if layer % GEMMA_PERIOD == 0 else "sliding_attention" for layer in layers]
    rope = config.get("rope_parameters") or {}
    local = (rope.get("sliding_attention") or {}).get("rope_theta", config.get("rope_local_base_freq", 10_000))
    different = {
        "layer_types": config.get("layer_types", kinds) != kinds,
        "query_pre_attn_scalar": config["query_pre_attn_scalar"] != config["head_dim"],
        "rope_theta of windows": local != 10_000,
        "softcapping": bool(config.get("final_logit_softcapping") or config.get("attn_logit_softcapping")),
        "use_bidirectional_attention": bool(config.get("use_bidirectional_attention")),
        "rope_type": (rope.get("full_attention") or {}).get("rope_type", "default") != "default",
    }
    if found := [name for name, differs in different.items() if differs]:
        raise ConfigError(
            f"hafs cannot write this Gemma 3 as GGUF: llama.cpp assumes other values of {', '.join(found)}"
        )


def names_of(shape: Shape) -> Callable[[str], str]:
    """From transformers' name of a module to llama.cpp's."""
    import gguf

    architecture = next(known for known, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.architecture)
    known = gguf.get_tensor_name_map(architecture, shape.layers)

    def name(module: str) -> str:
        found = known.get_name(module)
        if found is None:
            raise ConfigError(f"{module!r} has no counterpart in llama.cpp's {shape.architecture}")
        return found

    return name


def rope_factors(shape: Shape) -> Ready:
    """The rotary scaling of Llama 3, as divisors of the frequencies.

    Raises:
        ConfigError: The rotary scaling is of another kind.
    """
    import numpy as np

    rope = shape.config.get("rope_parameters") or shape.config.get("rope_scaling") or {}
    rope = rope.get("full_attention", rope)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return {}
    if kind != "llama3":
        raise ConfigError(f"rope type {kind!r} cannot be written as GGUF", hint="default or llama3")
    plain = _theta(shape) ** (-np.arange(0, shape.width, 2, dtype=np.float64) / shape.width)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * plain / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    factors = (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)
    return {"rope_freqs.weight": (lambda: factors, factors.shape)}


def _theta(shape: Shape) -> float:
    rope = shape.config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    return float(rope.get("rope_theta") or shape.config.get("rope_theta") or 10_000.0)


def add_shape(writer: Any, shape: Shape, kind: Kind) -> None:
    """Say in a file what its model is."""
    import gguf

    config = shape.config
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.groups)
    writer.add_key_length(shape.width)
    writer.add_value_length(shape.width)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(_theta(shape))
    writer.add_rope_dimension_count(shape.width)
    writer.add_vocab_size(config["vocab_size"])
    if shape.architecture == "gemma3":
        writer.add_sliding_window(config["sliding_window"])
    types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[types[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
