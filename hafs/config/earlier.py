"""Names and keys of release 0.1: old `_target_`s, renamed keys and keys that came later. All are accepted until 0.3.

A config of 0.1 comes from three places: a file in the user's `./conf`, overrides in a script, and the record of a run.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from hafs.config.group_map import PROVIDERS, in_modules, modules

_MOVED: dict[str, str] = {
    "hafs.adapter": "hafs.modeling.adapter",
    "hafs.callbacks": "hafs.training.callbacks",
    "hafs.dataset": "hafs.data.dataset",
    "hafs.expert": "hafs.council.expert",
    "hafs.gate": "hafs.evaluation.gate",
    "hafs.hardware": "hafs.modeling.hardware",
    "hafs.judge": "hafs.evaluation.judge",
    "hafs.metrics": "hafs.evaluation.metrics",
    "hafs.metrics.ended.Ended": "hafs.evaluation.metrics.eos_rate.EosRate",
    "hafs.metrics.seconds_a_token.SecondsAToken": "hafs.evaluation.metrics.seconds_per_token.SecondsPerToken",
    "hafs.model": "hafs.modeling.base_model",
    **{f"hafs.model.{name}": f"hafs.modeling.weights.{name}" for name in ("hub", "packaged_gguf", "random_weights")},
    "hafs.optimizer": "hafs.training.optimizer",
    "hafs.policy": "hafs.providers.policy",
    "hafs.provider": "hafs.providers.provider",
    **{f"hafs.provider.{name}": f"hafs.providers.{name}" for name in PROVIDERS[1:]},
    "hafs.quant": "hafs.modeling.quantization",
    "hafs.registry.registry": "hafs.registry.registry.registry",
    "hafs.router": "hafs.council.router",
    "hafs.stage": "hafs.training.stage",
    "hafs.synthesizer": "hafs.council.synthesizer",
}
"""Prefixes of a `_target_`; the longest match counts."""

_ADDED: dict[str, dict[str, Any]] = {
    "hafs.data.dataset.jsonl": {
        "columns": None,
        "syntax": None,
        "reasoning": "keep",
        "kind": "rows",
        "split": "train",
        "revision": None,
    },
    "hafs.modeling.base_model.causal_lm": {"template": None},
    "hafs.council.router.embedding.Embedding": {"follow_ups": None},
    "hafs.evaluation.gate.gate": {"tasks": []},
    "hafs.training.stage.Stage": {"preference": None, "rows": "all"},
}
"""By `_target_`: keys that 0.1 did not have, with the value that means what 0.1 did."""

_RENAMED = {
    "at_once": "concurrency",
    "gate.ended": "gate.eos_rate",
    "gate.seconds_a_token": "gate.seconds_per_token",
    "metrics.ended": "metrics.eos_rate",
    "metrics.seconds_a_token": "metrics.seconds_per_token",
    "policy.longest_rest_seconds": "policy.longest_backoff_seconds",
    "policy.quota_rest_seconds": "policy.quota_backoff_seconds",
    "policy.rest_seconds": "policy.backoff_seconds",
    "router.method.lessons": "router.method.training_questions",
    "router.method.routers.embedding.method.lessons": "router.method.routers.embedding.method.training_questions",
}
"""Keys of a command's config."""


def current_target(target: str) -> str:
    """Today's name for a `_target_` of any release."""
    if target not in _MOVED and in_modules(target, modules()):
        return target
    parts = target.split(".")
    for size in range(len(parts), 0, -1):
        if moved := _MOVED.get(".".join(parts[:size])):
            return ".".join([moved, *parts[size:]])
    return target


def current(node: Any) -> Any:
    """A recorded config of any release in the form of this one: today's `_target_`s, and every key."""
    if isinstance(node, list):
        return [current(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: current(value) for key, value in node.items()}
    if "_target_" in found:
        found["_target_"] = current_target(str(found["_target_"]))
        found |= dict(_added(found["_target_"], found))
    return found


def current_overrides(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Overrides with today's keys, and one line per key that was replaced."""
    found, lines = list(overrides), []
    for old, new in _RENAMED.items():
        pattern = re.compile(rf"^([+~]{{0,2}}){re.escape(old)}(?=[.=]|$)")
        if any(pattern.match(word) for word in found):
            found = [pattern.sub(rf"\g<1>{new}", word) for word in found]
            lines.append(_line(old, new))
    return found, lines


def renew_keys(config: DictConfig) -> list[str]:
    """Replace renamed keys of a composed config, in place; returns one line per replaced key.

    Only a user's file has an old key, so its value replaces the one that a shipped option gives the new key.
    """
    lines = []
    for old, new in _RENAMED.items():
        *path, key = old.split(".")
        node = OmegaConf.select(config, ".".join(path)) if path else config
        if isinstance(node, DictConfig) and key in node:
            name = new.rpartition(".")[2]
            with flag_override(node, ["readonly", "struct"], [False, False]):
                node[name] = node.pop(key)
            lines.append(_line(old, new))
    return lines


def renew_node(node: DictConfig) -> str | None:
    """Replace the old `_target_` of a node and add the keys it lacks, in place; returns a line if it was replaced."""
    before = str(node["_target_"])
    now = current_target(before)
    with flag_override(node, ["readonly", "struct"], [False, False]):
        if now != before:
            node["_target_"] = now
        for key, value in _added(now, node):
            node[key] = value
    return None if now == before else f"_target_: {_line(before, now)}"


def _added(target: str, given: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The keys that a node of 0.1 lacks, with their values."""
    yield from ((key, value) for key, value in _ADDED.get(target, {}).items() if key not in given)


def _line(old: str, new: str) -> str:
    return f"{old} is now {new}; the old name works until 0.3"
