"""Counts the parameters of a model on the meta device, where it has shapes and no weights.

python -m hafs.planning.counting    counts the catalogue again, from the configs in its files
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

from hafs.core.errors import ConfigError
from hafs.modeling import model_parts
from hafs.modeling.adapter import Lora
from hafs.modeling.auto_class import auto_class
from hafs.planning.config_names import config_object
from hafs.planning.leaf import CATALOGUE, Leaf


def counted(config: Mapping[str, Any]) -> list[Leaf]:
    """Every module that holds parameters, from the net itself, built on the meta device.

    Raises:
        ConfigError: transformers knows no causal model for this config.
    """
    settings = config_object(config)
    try:
        with torch.device("meta"):
            net = auto_class(settings).from_config(settings)
    except (KeyError, ValueError, ImportError) as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"transformers cannot build a causal language model of type {config.get('model_type')!r}: {why}"
        ) from error
    found = list(_grouped(net))
    if not any(leaf.kind == "experts" for leaf in found):
        return found
    reached = lora_on_parameters(net)
    return [replace(leaf, lora=reached.get(leaf.name, 0)) for leaf in found]


def _grouped(net: Any) -> Iterator[Leaf]:
    head = net.get_output_embeddings()
    looked_up = net.get_input_embeddings()
    tied = getattr(
        net.config, "tie_word_embeddings", False
    )  # as its config says; some have a matrix of their own nevertheless
    decoder: Any = model_parts.decoder_of(net)
    inside = {id(module) for module in decoder.modules()} if decoder is not net else {id(m) for m in net.modules()}
    head_kind = "embedding" if tied and head is not None and head.weight is not looked_up.weight else "head"
    kinds: Counter[Any] = Counter()
    seen: set[int] = set()
    for name, module in net.named_modules():
        own = {field: p for field, p in module.named_parameters(recurse=False) if id(p) not in seen or module is head}
        seen |= {id(parameter) for parameter in own.values()}
        plain = re.sub(r"\.\d+\.", ".*.", name)
        weight = own.pop("weight", None)
        if weight is not None:
            plain_linear = "linear" if id(module) in inside else "tower"
            kind = plain_linear if isinstance(module, torch.nn.Linear) else "norm"
            kind = "embedding" if isinstance(module, torch.nn.Embedding) else head_kind if module is head else kind
            bias = own.pop("bias", None)
            kinds[plain, kind, tuple(weight.shape), bias.numel() if bias is not None else 0] += 1
        for field, parameter in own.items():
            kind = "experts" if parameter.ndim == 3 and "expert" in f"{name}.{field}" else "norm"
            kinds[f"{plain}.{field}".lstrip("."), kind, tuple(parameter.shape), 0] += 1
    found: Any = kinds.items()
    for (name, kind, weight, bias), times in found:
        yield Leaf(name=name, kind=kind, weight=weight, bias=bias, times=times)


_ONE = {"r": 1, "lora_alpha": 1, "lora_dropout": 0.0, "target_modules": "all-linear"}


def lora_on_parameters(net: Any) -> dict[str, int]:
    """Elements of an adapter of rank 1 on each such parameter, by its name with `*` for the layer.

    Args:
        net: On the meta device; it gets the adapter.
    """
    from peft.tuners.lora.layer import ParamWrapper

    try:
        net = Lora(name="count", config=_ONE).attach(net)
    except (ConfigError, NotImplementedError, RuntimeError):
        return {}  # a run says why
    found = {}
    for name, module in net.named_modules():
        if isinstance(module, ParamWrapper):
            parts: Any = (module.lora_A, module.lora_B)
            own = sum(part["default"].weight.numel() for part in parts)
            path = re.sub(r"\.base_layer", "", name.removeprefix("base_model.model."))
            full = f"{path}.{module.parameter_name}".removesuffix(".weight")
            found[re.sub(r"\.\d+\.", ".*.", full)] = own
    return found


def recount() -> None:
    """Write the counted leaves of every entry of the catalogue into its file."""
    for path in sorted(CATALOGUE.glob("*.json")):
        entry = json.loads(path.read_text())
        lines = [
            json.dumps({k: v for k, v in asdict(leaf).items() if k != "lora" or v}) for leaf in counted(entry["config"])
        ]
        del entry["leaves"]
        text = (
            json.dumps(entry, indent=1).removesuffix("\n}") + ',\n "leaves": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
        )
        path.write_text(text)


if __name__ == "__main__":
    recount()
