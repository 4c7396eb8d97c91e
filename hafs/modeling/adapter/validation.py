"""Checks an adapter's folder before anything of it is loaded: safetensors, a plain config, no code.

Nothing here is executed or unpickled; code that loads an adapter of unknown origin calls `validated` first.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hafs.core.errors import RunError

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_MOST_CONFIG_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 25
_CODE = {".bin", ".ckpt", ".dll", ".exe", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py", ".pyc", ".sh", ".so"}
_NUMBERS = {"F32", "F16", "BF16", "F64"}
_TENSOR = re.compile(
    r"base_model\.model\.[\w.]+\.(lora_[AB]\.weight|lora_magnitude_vector(\.weight)?|lora_embedding_[AB]|weight|bias)"
)
_QUANTIFIED_GROUP = re.compile(r"\)[*+{]|[*+}][*+{]|(\[[^\]]*\]|\\?.)[*+].*(\[[^\]]*\]|\\?.)[*+].*[*+]")

Names = str | list[Annotated[str, Field(max_length=200)]]
Empty = Annotated[dict[str, Any], Field(max_length=0)]


class _Config(BaseModel):
    """The fields of PEFT's LoraConfig that describe an adapter; fields that name code or files must be empty."""

    model_config = ConfigDict(strict=True, extra="allow")

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"] | None = None
    r: Annotated[int, Field(gt=0, le=4096)]
    lora_alpha: Annotated[float, Field(gt=0, le=1e6)]
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Names
    base_model_name_or_path: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f]*$")] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    bias: Literal["none", "all", "lora_only"] = "none"
    auto_mapping: None = None
    inference_mode: bool = True
    loftq_config: Empty | None = None
    modules_to_save: list[str] | None = None
    target_parameters: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=1000)] | None = None


@dataclass(frozen=True, kw_only=True)
class AdapterFolder:
    """A folder that holds a LoRA adapter and nothing executable."""

    config: Mapping[str, Any]
    """The content of `adapter_config.json`."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of each tensor."""
    bytes: int
    """Of the tensors' file."""


def validated(folder: Path) -> AdapterFolder:
    """Check an adapter's folder without loading it.

    Raises:
        RunError: A part is missing, unexpected or malformed.
    """
    for name in (CONFIG, TENSORS):
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise _refused(folder, f"file {name!r} is missing")
    for path in folder.rglob("*"):
        if path.suffix.lower() in _CODE or (path.is_symlink() and not _inside(path, folder)):
            raise _refused(folder, f"file {path.name!r} does not belong in it")
    config = _config(folder)
    shapes = _shapes(folder)
    for name, shape in shapes.items():
        if not name.endswith((".lora_A.weight", ".lora_B.weight")):
            continue
        ranks = shape[:1] if name.endswith("A.weight") else shape[-1:]
        experts = bool(config.get("target_parameters")) and ranks[0] % config["r"] == 0  # the rank of each, stacked
        if len(shape) != 2 or (ranks[0] > _largest(config) and not experts):
            raise _refused(folder, f"tensor {name!r} has shape {list(shape)}, r is {config['r']}")
    return AdapterFolder(config=config, shapes=shapes, bytes=(folder / TENSORS).stat().st_size)


def _largest(config: Mapping[str, Any]) -> int:
    pattern = config.get("rank_pattern") or {}
    return max([config["r"], *(rank for rank in pattern.values() if isinstance(rank, int))])


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    if path.stat().st_size > _MOST_CONFIG_BYTES:
        raise _refused(folder, f"{CONFIG} has {path.stat().st_size} bytes")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        _Config.model_validate(said)
    except (ValueError, RecursionError) as error:
        raise _refused(folder, f"{CONFIG} {_first_problem(error)}") from error
    unknown = sorted(set(said) - _known_fields())
    if unknown:
        raise _refused(folder, f"{CONFIG} has an unknown field {unknown[0]!r}")
    words = said["target_modules"]
    if isinstance(words, str) and (len(words) > 300 or _QUANTIFIED_GROUP.search(words)):
        raise _refused(folder, "target_modules is a regular expression that could run forever")
    return said


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return "is not readable JSON"


def _known_fields() -> set[str]:
    from dataclasses import fields

    from peft import LoraConfig

    return {field.name for field in fields(LoraConfig)}


def _shapes(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Shapes out of the header of the tensors' file; only the header is read."""
    path, size = folder / TENSORS, (folder / TENSORS).stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MOST_HEADER_BYTES, size - 8):
                raise ValueError("its header has an impossible length")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        if not header or not all(_TENSOR.fullmatch(name) for name in header):
            odd = next((name for name in header if not _TENSOR.fullmatch(name)), "")
            raise ValueError(f"tensor {odd!r} does not belong to a LoRA adapter")
        for name, fact in header.items():
            begin, end = fact["data_offsets"]
            if fact["dtype"] not in _NUMBERS or not 0 <= begin <= end <= size - 8 - length:
                raise ValueError(f"tensor {name!r} lies outside the file or has an unknown type")
        return {name: tuple(fact["shape"]) for name, fact in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(folder, f"{TENSORS}: {error}") from error


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _refused(folder: Path, why: str) -> RunError:
    return RunError(
        f"{folder} is not an adapter that hafs loads: {why}",
        hint="an adapter folder has adapter_config.json and adapter_model.safetensors",
    )
