"""Limits what Hydra itself calls and writes: it acts on a composed config before the command does."""

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
"""Packages of launchers, sweepers and their parts."""
_LOGGING = re.compile(r"logging(\.handlers)?\.[A-Z]\w*|colorlog\.ColoredFormatter|ext://sys\.std(out|err)", re.ASCII)
"""Classes that Hydra's logging configs may use."""


def guard_hydra() -> None:
    """Check every config that Hydra composes, also for jobs of a sweep, before Hydra acts on it; safe to call again.

    Hydra has no hook for that: it creates its callbacks right after composing.
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
    """Reject classes in the `hydra` node that do not belong there.

    Raises:
        ConfigError: A `_target_` or a logging config names anything else.
    """
    for path, sub in targets(node, "hydra"):
        target = str(sub["_target_"])
        if target != _OURS and not is_class_of(target, _PLUGINS):
            raise _foreign(f"{path}._target_", target)
    for group in ("job_logging", "hydra_logging"):
        written = OmegaConf.to_container(node[group], resolve=True) if group in node else None
        for path, name in _called(written, f"hydra.{group}"):
            if not _LOGGING.fullmatch(name):
                raise _foreign(path, name)


def _called(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Names that Python's `logging.config` would look up and call, with their paths."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if key in ("()", "class") or (isinstance(value, str) and value.startswith("ext://")):
            yield f"{path}.{key}", str(value)
        yield from _called(value, f"{path}.{key}")


def _foreign(path: str, target: str) -> ConfigError:
    return ConfigError(
        f"{path} names {target!r}, which a config may not call",
        hint="hafs decides which classes Hydra may call; remove it",
    )
