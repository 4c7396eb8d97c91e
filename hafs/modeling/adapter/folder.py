"""Reads an adapter's folder in PEFT's format and checks what PEFT accepts: a wrong base, missing tensors, NaN."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hafs.core.errors import RunError
from hafs.modeling.adapter.validation import CONFIG, TENSORS, validated
from hafs.runs.finished import model_name

_OURS = re.compile(r"[0-9a-f]{16}$")
"""Folders of hafs' own cache are named by their content."""


def read_config(folder: Path) -> dict[str, Any]:
    """The `adapter_config.json` of a LoRA.

    Raises:
        RunError: There is none, it is of another type, or the folder has other files.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{folder} contains no adapter: {CONFIG} is missing",
            hint="a run writes its adapter to outputs/NAME/adapter",
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise RunError(f"{folder} contains an adapter of type {kind!r}, expected LORA")
    if not (folder / TENSORS).is_file():
        raise RunError(f"{folder} contains no {TENSORS}", hint="hafs loads adapters from safetensors only")
    validated(folder)
    return config


def scaling(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """The scale of a layer's LoRA product, by PEFT's rules.

    Args:
        config: The adapter's.
        layer: The layer's name in the base.
        rank: Of the layer's adapter.
    """
    alpha = _by_pattern(config.get("alpha_pattern") or {}, layer, config["lora_alpha"])
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _by_pattern(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return default


def read_tensors(folder: Path) -> dict[str, Any]:
    """The tensors of an adapter.

    Raises:
        RunError: The file is damaged, or contains NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / TENSORS)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{folder / TENSORS} cannot be read: {error}", hint="export or train it again") from error
    broken = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise RunError(f"{folder} contains NaN or infinity in {broken[0]}", hint="train it again")
    return tensors


def same_base(folder: Path, config: Mapping[str, Any], ours: str) -> None:
    """Reject an adapter whose base has another name, if both names are known.

    Args:
        folder: The adapter's.
        config: Its own.
        ours: The base's folder or name.

    Raises:
        RunError: It was made for another base.
    """
    theirs = str(config.get("base_model_name_or_path") or "")
    both = (Path(theirs).name, Path(ours).name)
    known = all(_OURS.match(name) for name in both) or (theirs and ours and not any(map(_is_path, (theirs, ours))))
    if known and both[0] != both[1]:
        raise RunError(
            f"{folder} was trained on another base model: {model_name(folder.parent) or theirs!r}, not {ours!r}",
            hint="use the model it was trained on",
        )


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") != 1
