"""Compose a config from Python, without a command line."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hafs.config.explain import explain
from hafs.config.overrides import DEMO_COMMANDS, rewrite
from hafs.config.tree import composed, drop_unchosen
from hafs.core.redaction import scrub


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain values that may be written to disk: values from the environment stay references."""
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
    """The config that a command would get for these overrides; the command is not run.

    Args:
        command: Name of a primary config: `train`, `validate`, ...
        overrides: As typed on the command line: `["model=tiny", "adapter.r=8"]`.

    Raises:
        ConfigError: An override is malformed, or names a group, option or key that does not exist.
    """
    rewritten = rewrite(overrides, demo=command in DEMO_COMMANDS)
    try:
        config = composed(command, rewritten)
        drop_unchosen(config, rewritten)
        return config
    except Exception as error:
        raise explain(error, command, rewritten) or error from error
