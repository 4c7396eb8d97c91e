"""The exact shapes of a model, from its config: shipped for the catalogue, else counted on the meta device.

`hafs.planning.counting` counts, and writes what is shipped.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import xxhash

from hafs.core import durable, records
from hafs.core.errors import ConfigError
from hafs.modeling.base_model import Hub, Model, PackagedGguf, RandomWeights
from hafs.modeling.weights import cache_folder
from hafs.planning.config_names import NEEDED, in_llamas_words
from hafs.planning.leaf import CATALOGUE, Kind, Leaf

COUNTED_AS = 5
"""Increased when `counting` changes, so that cached shapes are counted again."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a plan needs to know about a model."""

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
    experts_per_token: int = 0
    """How many of a layer's experts see a token."""

    def of(self, *kinds: Kind) -> list[Leaf]:
        """The leaves of some kinds."""
        return [leaf for leaf in self.leaves if leaf.kind in kinds]

    @property
    def parameters(self) -> int:
        """All of them, each once."""
        weights = (leaf.elements * (not self._is_copy(leaf)) + leaf.bias for leaf in self.leaves)
        return sum(count * leaf.times for count, leaf in zip(weights, self.leaves, strict=True))

    @property
    def linear_parameters(self) -> int:
        """Weights of all linear layers: what is quantized."""
        return sum(leaf.elements * leaf.times for leaf in self.of("linear", "tower"))

    @property
    def expert_parameters(self) -> int:
        """Weights of experts that a layer holds in one tensor, which quantization leaves alone."""
        return sum(leaf.elements * leaf.times for leaf in self.of("experts"))

    @property
    def worked_parameters(self) -> int:
        """Weights that a token is multiplied with: linear layers of the decoder, and the experts that see it."""
        share = (leaf.elements * leaf.times * self.experts_per_token / leaf.weight[0] for leaf in self.of("experts"))
        return sum(leaf.elements * leaf.times for leaf in self.of("linear")) + int(sum(share))

    @property
    def kept_parameters(self) -> int:
        """What quantization leaves alone: embeddings, head, norms, biases, experts in one tensor."""
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
    """The shapes of a model; loads no weights and uses no network.

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
    for entry in entries().values():
        if isinstance(weights, PackagedGguf) and entry.get("file") == weights.file:
            return entry["config"]
        if isinstance(weights, Hub) and entry["repo"] == weights.repo:
            return entry["config"]
    path = _config_file(weights)
    if path is None:
        name = getattr(weights, "repo", model.name)
        raise ConfigError(
            f"planning needs the config.json of {name!r}, which is not on this machine",
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
    """The shapes that a config means.

    Raises:
        ConfigError: transformers knows no causal model for this config.
    """
    said = config if {*NEEDED, "tie_word_embeddings"}.issubset(config) else in_llamas_words(config)
    heads, experts = said["num_attention_heads"], int(said.get("num_experts_per_tok") or 0)
    width = said["intermediate_size"]
    if experts and said.get("moe_intermediate_size"):
        width = experts * said["moe_intermediate_size"] + (said.get("shared_expert_intermediate_size") or 0)
    return Architecture(
        hidden=said["hidden_size"],
        layers=said["num_hidden_layers"],
        heads=heads,
        kv_heads=said.get("num_key_value_heads") or heads,
        head_dim=said.get("head_dim") or said["hidden_size"] // heads,
        intermediate=width,
        vocab=said["vocab_size"],
        tied=bool(said.get("tie_word_embeddings")),
        leaves=tuple(_leaf(leaf) for leaf in _leaves(config)),
        experts_per_token=experts,
    )


def _leaf(said: dict[str, Any]) -> Leaf:
    return Leaf(**{**said, "weight": tuple(said["weight"])})


def _leaves(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Shipped, or counted once and kept in the cache."""
    for entry in entries().values():
        if entry["config"] == config and entry["leaves"]:
            return entry["leaves"]
    key = xxhash.xxh3_64_hexdigest(orjson.dumps([COUNTED_AS, config], option=orjson.OPT_SORT_KEYS))
    path = cache_folder() / "shapes" / f"{key}.json"
    try:
        if kept := records.read_record(path):
            return kept["leaves"]
    except durable.Damaged:
        records.say_damaged(path, records.CHECKSUM, "the shapes will be counted again")
    from hafs.planning.counting import counted

    leaves = [asdict(leaf) for leaf in counted(config)]
    with suppress(OSError):  # a home that cannot be written costs the time to count again
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_record(path, {"leaves": leaves})
    return leaves
