"""From a config node to an object: the only wrapper of Hydra's `instantiate`."""

from collections.abc import Iterator
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from hafs.errors import ConfigError

ALLOWED = (
    "hafs.",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.strategies.",
    "torch.optim.",
)
"""What a `_target_` may name. Hydra's own blocklist is no boundary: `torch.load` passes it and executes pickles."""


def targets(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every sub-node that has a `_target_`, with its dotted path, outermost first."""
    if isinstance(node, DictConfig):
        if OmegaConf.is_missing(node, "_target_") or node._is_none():
            return
        if "_target_" in node:
            yield path, node
        for key in node:
            if not OmegaConf.is_missing(node, key):
                yield from targets(node._get_node(key), f"{path}.{key}".strip("."))
    elif isinstance(node, ListConfig) and not node._is_none():
        for i in range(len(node)):
            yield from targets(node._get_node(i), f"{path}[{i}]")


def refuse_foreign(node: Any) -> None:
    """Refuse a `_target_` outside the allowlist.

    Raises:
        ConfigError: It names something that configuration must not call.
    """
    for path, sub in targets(node):
        target = str(sub["_target_"])
        if not target.startswith(ALLOWED) or ".." in target:
            raise ConfigError(
                f"{path or 'the node'}._target_ names {target!r}, which a config may not call",
                hint=f"allowed: {', '.join(ALLOWED)}",
            )


def build(node: Any, **runtime: Any) -> Any:
    """The object a node describes; `runtime` is what only exists at run time (tensors, other objects).

    Returns None for a node that is null.

    Raises:
        ConfigError: The node, or one inside it, names a `_target_` outside the allowlist.
    """
    if node is None:
        return None
    refuse_foreign(node)
    if runtime:
        return instantiate(node, _convert_="object", _partial_=True)(**runtime)
    return instantiate(node, _convert_="object")
