"""An adapter's folder in PEFT's format, read with suspicion: PEFT accepts a wrong base, missing tensors and NaN."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hafs.errors import RunError

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"


def read_config(folder: Path) -> dict[str, Any]:
    """The `adapter_config.json` of a LoRA.

    Raises:
        RunError: There is none, or it describes something else.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{folder} holds no adapter: {CONFIG} is missing", hint="a run leaves one under outputs/NAME/adapter"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise RunError(f"{folder} holds an adapter of type {kind!r}; expected LORA")
    if not (folder / TENSORS).is_file():
        raise RunError(f"{folder} holds no {TENSORS}", hint="adapters are loaded from safetensors only")
    return config


def scaling(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """What the branch of a layer is multiplied with, by PEFT's rules.

    Args:
        config: The adapter's.
        layer: The layer's name in the base.
        rank: Of the layer's branch.
    """
    alpha = _by_pattern(config.get("alpha_pattern") or {}, layer, config["lora_alpha"])
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _by_pattern(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return default
