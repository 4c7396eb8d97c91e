"""Which changes of a run's config are allowed when it is resumed."""

from collections.abc import Mapping
from typing import Any

from hafs.config.earlier import current

COSMETIC = {
    "resume",
    "hafs",
    "logger",
    "name",
    "num_workers",
    "on_data_change",
    "show",
    "micro_batch_tokens",
    "model.embedding_on_cpu",
    "callbacks.checkpoint",
    "callbacks.generations",
    "callbacks.journal",
    "callbacks.micro_batch",
    "callbacks.pause",
    "callbacks.progress",
    "callbacks.rehearsal",
    "callbacks.throughput",
}
"""Config keys that do not change the result, so a run may be resumed with other values."""

DIVIDING = ("trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Keys that set how many devices share a step. The step stays the same up to rounding, except for dropout."""


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and leaf values of nested mappings."""
    if isinstance(node, Mapping) and node:
        return {k: v for key, child in node.items() for k, v in flat(child, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: node}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys that change the result and differ, as `key: old -> new`.

    Stages added after the recorded ones are allowed: they do not change the recorded ones.
    """
    before, now = current(before), current(now)
    stages_before, stages_now = list(before.get("stages", {})), list(now.get("stages", {}))
    if stages_now[: len(stages_before)] == stages_before:
        now = dict(now) | {"stages": {name: now["stages"][name] for name in stages_before}}
    else:
        return [f"stage: {','.join(stages_before)} -> {','.join(stages_now)}"]
    old, new = flat(before), flat(now)
    return [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and not _cosmetic(key)
    ]


def _cosmetic(key: str) -> bool:
    parts = key.split(".")
    return key in DIVIDING or any(".".join(parts[:n]) in COSMETIC for n in range(1, len(parts) + 1))
