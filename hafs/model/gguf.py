"""Models and adapters as GGUF, the format of llama.cpp: Llama and Qwen2, tokenizer and chat template included.

The weights keep their order of magnitude: `bf16` of a bf16 model changes no bit. Whatever is written should be compared
with the original before it is trusted: on some CPUs llama.cpp computes nonsense from quantized files.

Shapes are those of transformers (`[out, in]`); GGUF lists them in reverse.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hafs.errors import ConfigError, RunError
from hafs.model.gguf_vocabulary import add_vocabulary

Kind = Literal["f32", "f16", "bf16", "q8_0"]
ARCHITECTURES = ("llama", "qwen2")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a conversion needs to know of a base."""

    config: Mapping[str, Any]
    """Its `config.json`."""

    @property
    def architecture(self) -> str:
        """Its model type, llama or qwen2."""
        return self.config["model_type"]

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
        """Of one head."""
        return self.config.get("head_dim") or self.config["hidden_size"] // self.heads

    def reordered(self, name: str, tensor: Any) -> Any:
        """A tensor in llama.cpp's order: its Llama rotates neighbours, transformers' rotates halves.

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
    """The base in a folder of transformers' format.

    Raises:
        ConfigError: It is of an architecture that is not converted here.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") not in ARCHITECTURES:
        raise ConfigError(
            f"a model of type {config.get('model_type')!r} cannot be written as GGUF here, only "
            + " and ".join(ARCHITECTURES),
            hint="llama.cpp's own convert_hf_to_gguf.py knows more architectures",
        )
    if config.get("use_sliding_window"):
        raise ConfigError("a model with sliding-window attention cannot be written as GGUF here")
    return Shape(config=config)


def write_model(folder: Path, target: Path, *, kind: Kind = "bf16", name: str | None = None) -> Path:
    """Write a whole model; tensor by tensor, so that no more than one is in memory.

    Args:
        folder: The model in transformers' format: config, safetensors, tokenizer, chat template.
        target: The file to write; it appears only once it is whole.
        kind: How matrices are stored; norms and biases stay float32.
        name: What the file says it is.

    Raises:
        ConfigError: The architecture or the tokenizer has no counterpart here.
    """
    shape = read_shape(folder)
    with ExitStack() as stack:
        tensors = stack.enter_context(_stored(folder))
        writer = stack.enter_context(_writing(target, shape.architecture))
        writer.add_type("model")
        writer.add_name(name or shape.config.get("_name_or_path") or folder.name)
        _add_shape(writer, shape, kind)
        add_vocabulary(writer, folder, shape.config["vocab_size"])
        ready = {**_model_tensors(shape, tensors), **_rope_factors(shape)}
        _write_tensors(writer, ready, kind)
    return target


def write_adapter(adapter: Path, base: Path, target: Path, *, kind: Kind = "f32") -> Path:
    """Write a LoRA adapter for llama.cpp's `--lora`.

    Args:
        adapter: A folder in PEFT's format.
        base: Its base in transformers' format; only the shapes of its tensors are read.
        target: The file to write; it appears only once it is whole.
        kind: How its matrices are stored.

    Raises:
        ConfigError: It is no plain LoRA of linear layers.
        RunError: It is damaged, or was made for another base.
    """
    from hafs.adapter.folder import read_config, read_tensors, same_base, scaling

    shape, config = read_shape(base), read_config(adapter)
    if config.get("use_dora") or config.get("modules_to_save") or config.get("lora_bias"):
        raise ConfigError(
            f"{adapter} is more than a plain LoRA (DoRA, biases or whole modules), which llama.cpp cannot load",
            hint="merge it into its base and export that as GGUF",
        )
    same_base(adapter, config, str(base))
    pairs = _pairs(read_tensors(adapter))
    _hold_against_base(adapter, pairs, base)
    alpha = float(config["lora_alpha"])
    names, ready = _names(shape), {}
    for layer, (a_RI, b_OR) in pairs.items():
        factor = scaling(config, layer, a_RI.shape[0]) * a_RI.shape[0] / alpha  # llama.cpp scales by alpha / rank
        ready[f"{names(layer)}.weight.lora_a"] = a_RI
        ready[f"{names(layer)}.weight.lora_b"] = shape.reordered(layer, b_OR) * b_OR.dtype.type(factor)
    with _writing(target, shape.architecture) as writer:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        _write_tensors(writer, {key: (lambda value=value: value, value.shape) for key, value in ready.items()}, kind)
    return target


def _pairs(tensors: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`{layer: (A, B)}` of an adapter's tensors."""
    found: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        layer, mark, _ = key.removeprefix("base_model.model.").rpartition(".lora_")
        side = key.rsplit("lora_", 1)[-1].split(".")[0]
        if not mark or side not in ("A", "B") or tensor.ndim != 2:
            raise ConfigError(f"{key!r} of the adapter is no matrix of a LoRA on a linear layer")
        found.setdefault(layer, {})[side] = tensor
    return {layer: (sides["A"].float().numpy(), sides["B"].float().numpy()) for layer, sides in found.items()}


def _hold_against_base(adapter: Path, pairs: Mapping[str, tuple[Any, Any]], base: Path) -> None:
    with _stored(base) as tensors:
        shapes = {key.removesuffix(".weight"): stored.shape for key, stored in tensors.items()}
    for layer, (a_RI, b_OR) in pairs.items():
        wanted = shapes.get(layer)
        if wanted != (b_OR.shape[0], a_RI.shape[1]):
            raise RunError(
                f"{adapter} was made for another base: {layer} is {[b_OR.shape[0], a_RI.shape[1]]} there, "
                f"{list(wanted) if wanted else 'missing'} in {base}",
                hint="choose the model it was trained on",
            )


def _names(shape: Shape) -> Callable[[str], str]:
    """From transformers' name of a module to llama.cpp's."""
    import gguf

    architecture = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[shape.architecture]
    known = gguf.get_tensor_name_map(architecture, shape.layers)

    def name(module: str) -> str:
        found = known.get_name(module)
        if found is None:
            raise ConfigError(f"{module!r} has no counterpart in llama.cpp's {shape.architecture}")
        return found

    return name


Ready = Mapping[str, tuple[Callable[[], Any], tuple[int, ...]]]
"""Tensors by llama.cpp's name: what gives the values as a numpy array of floats, and their shape."""


def _model_tensors(shape: Shape, tensors: Mapping[str, Any]) -> Ready:
    names, ready = _names(shape), {}
    for key, stored in sorted(tensors.items()):
        module, _, leaf = key.rpartition(".")
        if key == "lm_head.weight" and shape.config.get("tie_word_embeddings"):
            continue
        if module.endswith("rotary_emb"):
            continue

        def values(stored: Any = stored, module: str = module) -> Any:
            return shape.reordered(module, stored().float().numpy())

        ready[f"{names(module)}.{leaf}"] = (values, tuple(stored.shape))
    return ready


def _rope_factors(shape: Shape) -> Ready:
    """Llama 3's stretched rotations, as divisors of the plain frequencies.

    Raises:
        ConfigError: The rotations are stretched in another way.
    """
    import numpy as np

    rope = shape.config.get("rope_parameters") or shape.config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return {}
    if kind != "llama3":
        raise ConfigError(f"rope type {kind!r} of the model cannot be written as GGUF here", hint="default or llama3")
    plain = _theta(shape) ** (-np.arange(0, shape.width, 2, dtype=np.float64) / shape.width)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * plain / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    factors = (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)
    return {"rope_freqs.weight": (lambda: factors, factors.shape)}


def _theta(shape: Shape) -> float:
    rope = shape.config.get("rope_parameters") or {}
    return float(rope.get("rope_theta") or shape.config.get("rope_theta") or 10_000.0)


def _add_shape(writer: Any, shape: Shape, kind: Kind) -> None:
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
    types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[types[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _write_tensors(writer: Any, ready: Ready, kind: Kind) -> None:
    import gguf
    import numpy as np

    def type_of(name: str, shape: tuple[int, ...]) -> Any:
        odd = kind == "q8_0" and shape[-1] % 32
        return gguf.GGMLQuantizationType.F32 if len(shape) < 2 or odd else gguf.GGMLQuantizationType[kind.upper()]

    for name, (_, shape) in ready.items():
        of = type_of(name, shape)
        size = int(np.prod(gguf.quant_shape_to_byte_shape(shape, of)))
        stored = gguf.quant_shape_to_byte_shape(shape, of) if of.name not in ("F32", "F16") else shape
        dtype = {"F32": np.float32, "F16": np.float16}.get(of.name, np.uint8)
        writer.add_tensor_info(name, stored, np.dtype(dtype), size, raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (values, shape) in ready.items():
        array = np.ascontiguousarray(values(), dtype=np.float32)
        writer.write_tensor_data(gguf.quantize(array, type_of(name, shape)))


@contextmanager
def _writing(target: Path, architecture: str) -> Iterator[Any]:
    """A writer whose file appears under its name only when everything went well."""
    import gguf

    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    writer = gguf.GGUFWriter(draft, architecture)
    try:
        yield writer
        writer.close()
        draft.replace(target)
    finally:
        writer.close()
        draft.unlink(missing_ok=True)


class _Stored:
    """A tensor in a safetensors file; called, it is loaded."""

    def __init__(self, file: Any, key: str) -> None:
        self._file, self._key = file, key
        self.shape = tuple(file.get_slice(key).get_shape())

    def __call__(self) -> Any:
        return self._file.get_tensor(self._key)


@contextmanager
def _stored(folder: Path) -> Iterator[dict[str, _Stored]]:
    """The tensors of all safetensors files of a folder, none of them loaded yet."""
    from safetensors import safe_open

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} holds no model.safetensors")
    with ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
        yield {key: _Stored(file, key) for file in opened for key in file.keys()}  # noqa: SIM118
