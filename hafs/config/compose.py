"""Composing a config without a command line."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hafs.config.explain import explain
from hafs.config.overrides import DEMO_COMMANDS, rewrite
from hafs.config.tree import composed, drop_unchosen
from hafs.core.redaction import scrub


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain values, fit to be written down: what comes from the environment stays a reference."""
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    return _named(resolved, OmegaConf.to_container(config, resolve=False))


def _named(value: Any, written: Any) -> Any:
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: _named(child, written[key]) for key, child in value.items()}
    if isinstance(value, list) and isinstance(written, list):
        return [_named(child, other) for child, other in zip(value, written, strict=True)]
    if isinstance(written, str) and "${oc.env:" in written:
        return written
    return scrub(value) if isinstance(value, str) else value


def compose(command: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config a command would get for these words, without running it.

    Args:
        command: Name of a primary config: `train`, `validate`, ...
        overrides: Words as typed on the command line.

    Raises:
        ConfigError: A word is malformed, or names a group, option or key that does not exist.
    """
    words = rewrite(overrides, demo=command in DEMO_COMMANDS)
    try:
        config = composed(command, words)
        drop_unchosen(config, words)
        return config
    except Exception as error:
        raise explain(error, command, words) or error from error
