"""What Hydra itself may call and write: it acts on a composed config before the command does."""

import re
from collections.abc import Iterator
from functools import wraps
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from hafs.config.build import is_class_of, targets
from hafs.config.check import refuse_secrets
from hafs.core.errors import ConfigError

_OURS = "hafs.config.hydra_command.SweepFolder"
_PLUGINS = ("hydra._internal.core_plugins", "hydra_plugins", "optuna.samplers", "optuna.pruners")
"""Where launchers, sweepers and what they are made of live."""
_LOGGING = re.compile(r"logging(\.handlers)?\.[A-Z]\w*|colorlog\.ColoredFormatter|ext://sys\.std(out|err)", re.ASCII)
"""What Hydra's own ways of logging are made of."""


def guard_hydra() -> None:
    """Let Hydra refuse a composed config, a sweep's jobs included, before it acts on its own node; safe to call again.

    Hydra has no place for that: callbacks are made right after composing.
    """
    load = ConfigLoaderImpl.load_configuration
    if hasattr(load, "__wrapped__"):
        return

    @wraps(load)
    def guarded(*args: Any, **kwargs: Any) -> DictConfig:
        config = load(*args, **kwargs)
        refuse_in_hydra(config.hydra)
        refuse_secrets(config)
        return config

    ConfigLoaderImpl.load_configuration = guarded


def refuse_in_hydra(node: DictConfig) -> None:
    """Hold Hydra's node against what belongs into it.

    Raises:
        ConfigError: It names something else to call, as a `_target_` or to log with.
    """
    for path, sub in targets(node, "hydra"):
        target = str(sub["_target_"])
        if target != _OURS and not is_class_of(target, _PLUGINS):
            raise _foreign(f"{path}._target_", target)
    for group in ("job_logging", "hydra_logging"):
        written = OmegaConf.to_container(node[group], resolve=True) if group in node else None
        for path, word in _called(written, f"hydra.{group}"):
            if not _LOGGING.fullmatch(word):
                raise _foreign(path, word)


def _called(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """What Python's `logging.config` would look up and call."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if key in ("()", "class") or (isinstance(value, str) and value.startswith("ext://")):
            yield f"{path}.{key}", str(value)
        yield from _called(value, f"{path}.{key}")


def _foreign(path: str, target: str) -> ConfigError:
    return ConfigError(
        f"{path} names {target!r}, which a config may not call", hint="hafs chooses what Hydra calls; take it out"
    )
