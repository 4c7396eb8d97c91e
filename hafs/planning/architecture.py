"""The exact shapes of a model, from its config: shipped for the catalogue, else counted on the meta device.

python -m hafs.planning.architecture    counts the catalogue again, from the configs in its files
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson
import xxhash

from hafs.core import durable
from hafs.core.errors import ConfigError
from hafs.modeling.base_model import Hub, Model, PackagedGguf, RandomWeights
from hafs.modeling.weights import cache_folder

CATALOGUE = Path(__file__).parent / "catalogue"

Kind = Literal["linear", "embedding", "head", "norm"]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """Modules of one kind that hold parameters, the same in every decoder layer."""

    name: str
    """As in the net, the number of the decoder layer replaced by `*`."""
    kind: Kind
    weight: tuple[int, ...]
    """Its shape; linear layers: out, in."""
    bias: int
    """Elements of the bias, or 0."""
    times: int
    """How many there are."""

    @property
    def elements(self) -> int:
        """Of one weight."""
        count = 1
        for size in self.weight:
            count *= size
        return count


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a plan has to know of a model."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    """Whether the vocabulary projection is the embedding."""
    leaves: tuple[Leaf, ...]

    def of(self, *kinds: Kind) -> list[Leaf]:
        """The leaves of some kinds."""
        return [leaf for leaf in self.leaves if leaf.kind in kinds]

    @property
    def parameters(self) -> int:
        """All of them, each once."""
        return sum((leaf.elements + leaf.bias) * leaf.times for leaf in self.leaves if not self._is_copy(leaf))

    @property
    def linear_parameters(self) -> int:
        """Weights of the decoder's linear layers: what is quantized, and what costs time."""
        return sum(leaf.elements * leaf.times for leaf in self.of("linear"))

    @property
    def kept_parameters(self) -> int:
        """What quantization leaves alone: embeddings, head, norms, biases."""
        return self.parameters - self.linear_parameters

    @property
    def embedding_parameters(self) -> int:
        """Of the input embedding."""
        return sum(leaf.elements * leaf.times for leaf in self.of("embedding"))

    @property
    def norms_queries(self) -> bool:
        """Whether queries and keys are normalized, as in Qwen3."""
        return any(leaf.name.endswith("q_norm") for leaf in self.leaves)

    def _is_copy(self, leaf: Leaf) -> bool:
        return leaf.kind == "head" and self.tied


def architecture_of(model: Model) -> Architecture:
    """The shapes of a model; loads no weights and asks no network.

    Raises:
        ConfigError: Its config is not on this machine.
    """
    return described(config_of(model))


@cache
def entries() -> Mapping[str, Mapping[str, Any]]:
    """The catalogue: config and counted leaves by name."""
    return {path.stem: orjson.loads(path.read_bytes()) for path in sorted(CATALOGUE.glob("*.json"))}


def config_of(model: Model) -> Mapping[str, Any]:
    """A model's config in transformers' words, from the catalogue, the hub's cache or a folder.

    Raises:
        ConfigError: It is not on this machine.
    """
    weights = model.weights
    if isinstance(weights, RandomWeights):
        return entries()["tiny"]["config"] | {
            "model_type": weights.architecture,
            "hidden_size": weights.hidden_size,
            "intermediate_size": 4 * weights.hidden_size,
            "num_hidden_layers": weights.layers,
            "num_attention_heads": weights.heads,
            "num_key_value_heads": max(1, weights.heads // 2),
            "head_dim": weights.hidden_size // weights.heads,
        }
    if isinstance(weights, PackagedGguf) and weights.file.startswith("SmolLM2-135M"):
        return entries()["smollm2_135m"]["config"]
    if isinstance(weights, Hub):
        for entry in entries().values():
            if entry["repo"] == weights.repo:
                return entry["config"]
    path = _config_file(weights)
    if path is None:
        name = getattr(weights, "repo", model.name)
        raise ConfigError(
            f"a plan needs the config.json of {name!r}, which is neither shipped nor on this machine",
            hint=f"hf download {name} config.json",
        )
    return orjson.loads(path.read_bytes())


def _config_file(weights: Any) -> Path | None:
    if not isinstance(weights, Hub):
        folder = weights.folder()
    elif Path(weights.repo).is_dir():
        folder = Path(weights.repo)
    else:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(weights.repo, "config.json", revision=weights.revision)
        return Path(found) if isinstance(found, str) else None
    return folder / "config.json" if (folder / "config.json").is_file() else None


def described(config: Mapping[str, Any]) -> Architecture:
    """The shapes that a config means."""
    heads = config["num_attention_heads"]
    return Architecture(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate=config["intermediate_size"],
        vocab=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings")),
        leaves=tuple(_leaf(leaf) for leaf in _leaves(config)),
    )


def _leaf(said: dict[str, Any]) -> Leaf:
    return Leaf(**{**said, "weight": tuple(said["weight"])})


def _leaves(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Shipped, or counted once and kept in the cache."""
    for entry in entries().values():
        if entry["config"] == config and entry["leaves"]:
            return entry["leaves"]
    key = xxhash.xxh3_64_hexdigest(orjson.dumps(config, option=orjson.OPT_SORT_KEYS))
    path = cache_folder() / "shapes" / f"{key}.json"
    try:
        if kept := durable.read_record(path):
            return kept["leaves"]
    except durable.Damaged:
        durable.say_damaged(path, durable.CHECKSUM, "the shapes are counted again")
    leaves = [asdict(leaf) for leaf in counted(config)]
    with suppress(OSError):  # a home that cannot be written costs the time to count again
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_record(path, {"leaves": leaves})
    return leaves


def counted(config: Mapping[str, Any]) -> list[Leaf]:
    """Every module that holds parameters, from the net itself, built on the meta device.

    Raises:
        ConfigError: transformers knows no causal model for this config.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options = {key: value for key, value in config.items() if key not in ("model_type", "quantization_config")}
    try:
        with torch.device("meta"):
            net = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **options))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"transformers builds no causal model of {config.get('model_type')!r}: {error}") from error
    return list(_grouped(net))


def _grouped(net: Any) -> Iterator[Leaf]:
    import torch

    head = net.get_output_embeddings()
    kinds: Counter[Any] = Counter()
    for name, module in net.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        kind = "linear" if isinstance(module, torch.nn.Linear) else "norm"
        kind = "embedding" if isinstance(module, torch.nn.Embedding) else "head" if module is head else kind
        bias = getattr(module, "bias", None)
        plain = re.sub(r"\.\d+\.", ".*.", name)
        kinds[plain, kind, tuple(module.weight.shape), bias.numel() if bias is not None else 0] += 1
    found: Any = kinds.items()
    for (name, kind, weight, bias), times in found:
        yield Leaf(name=name, kind=kind, weight=weight, bias=bias, times=times)


def recount() -> None:
    """Write the counted leaves of every entry of the catalogue into its file."""
    for path in sorted(CATALOGUE.glob("*.json")):
        entry = json.loads(path.read_text())
        lines = [json.dumps(asdict(leaf)) for leaf in counted(entry["config"])]
        del entry["leaves"]
        text = (
            json.dumps(entry, indent=1).removesuffix("\n}") + ',\n "leaves": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
        )
        path.write_text(text)


if __name__ == "__main__":
    recount()
