"""Reads tensors from safetensors files and writes them to a GGUF file, one in memory at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from hafs.core import durable
from hafs.core.errors import ConfigError

Kind = Literal["f32", "f16", "bf16", "q8_0"]
"""How matrices are stored."""
Ready = Mapping[str, tuple[Callable[[], Any], tuple[int, ...]]]
"""By llama.cpp's tensor name: a function that returns the values as a float array, and the shape."""


class Stored:
    """A tensor in a safetensors file; a call loads it."""

    def __init__(self, file: Any, key: str) -> None:
        self._file, self._key = file, key
        self.shape = tuple(file.get_slice(key).get_shape())

    def __call__(self) -> Any:
        """Load the tensor."""
        return self._file.get_tensor(self._key)


@contextmanager
def stored(folder: Path) -> Iterator[dict[str, Stored]]:
    """The tensors of all safetensors files in a model's folder; none is loaded yet.

    Raises:
        ConfigError: There are no such files.
    """
    from safetensors import safe_open

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} contains no model.safetensors")
    with ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
        yield {key: Stored(file, key) for file in opened for key in file.keys()}  # noqa: SIM118


@contextmanager
def writing(target: Path, architecture: str) -> Iterator[Any]:
    """A writer; its file gets its name only after a complete write."""
    import gguf

    target.parent.mkdir(parents=True, exist_ok=True)
    with durable.drafted(target) as draft:
        writer = gguf.GGUFWriter(draft, architecture)
        try:
            yield writer
        finally:
            writer.close()


def write_tensors(writer: Any, ready: Ready, kind: Kind) -> None:
    """Write the header, then each tensor; vectors stay float32."""
    import gguf
    import numpy as np

    def type_of(name: str, shape: tuple[int, ...]) -> Any:
        odd = kind == "q8_0" and shape[-1] % 32
        return gguf.GGMLQuantizationType.F32 if len(shape) < 2 or odd else gguf.GGMLQuantizationType[kind.upper()]

    for name, (_, shape) in ready.items():
        of = type_of(name, shape)
        size = int(np.prod(gguf.quant_shape_to_byte_shape(shape, of)))
        listed = gguf.quant_shape_to_byte_shape(shape, of) if of.name not in ("F32", "F16") else shape
        dtype = {"F32": np.float32, "F16": np.float16}.get(of.name, np.uint8)
        writer.add_tensor_info(name, listed, np.dtype(dtype), size, raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (values, shape) in ready.items():
        array = np.ascontiguousarray(values(), dtype=np.float32)
        writer.write_tensor_data(gguf.quantize(array, type_of(name, shape)))
