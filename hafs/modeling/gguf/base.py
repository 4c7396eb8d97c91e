"""A whole model as GGUF."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hafs.modeling.gguf.architecture import Shape, add_shape, names_of, read_shape, rope_factors
from hafs.modeling.gguf.files import Kind, Ready, Stored, stored, write_tensors, writing
from hafs.modeling.gguf.vocabulary import add_vocabulary


def write_model(folder: Path, target: Path, *, kind: Kind = "bf16", name: str | None = None) -> Path:
    """Write a whole model, one tensor in memory at a time.

    Args:
        folder: The model in transformers' format: config, safetensors, tokenizer, chat template.
        target: The file to write; it appears only when it is complete.
        kind: How matrices are stored; norms and biases stay float32.
        name: The name in the file.

    Raises:
        ConfigError: The architecture or the tokenizer has no counterpart in llama.cpp.
    """
    shape = read_shape(folder)
    with ExitStack() as stack:
        tensors = stack.enter_context(stored(folder))
        writer = stack.enter_context(writing(target, shape.architecture))
        writer.add_type("model")
        writer.add_name(name or shape.config.get("_name_or_path") or folder.name)
        add_shape(writer, shape, kind)
        add_vocabulary(writer, folder, shape.config["vocab_size"])
        ready = {**_model_tensors(shape, tensors), **rope_factors(shape)}
        write_tensors(writer, ready, kind)
    return target


def _model_tensors(shape: Shape, tensors: Mapping[str, Stored]) -> Ready:
    names, ready = names_of(shape), {}
    for key, tensor in sorted(tensors.items()):
        module, _, leaf = key.rpartition(".")
        if key == "lm_head.weight" and shape.config.get("tie_word_embeddings"):
            continue
        if module.endswith("rotary_emb"):
            continue

        def values(tensor: Any = tensor, module: str = module) -> Any:
            return shape.values(module, tensor().float().numpy())

        ready[f"{names(module)}.{leaf}"] = (values, tuple(tensor.shape))
    return ready
