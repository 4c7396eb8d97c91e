"""The configuration tree: where `conf/` is, which options its groups have, and how Hydra composes it."""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from pydantic import TypeAdapter

from hafs.config import own_options
from hafs.config.overrides import SEQUENCES, RunName, called_after, name_of_sweep
from hafs.config.own_options import OwnOptions, register_source
from hafs.config.shipped import conf_folder, shipped
from hafs.core.errors import ConfigError

VERSION = "1.3"
"""The version of Hydra's behaviour that `conf/` is written for."""
_LONGEST_NAME, _LONGEST_SWEEP = 200, 160
_COMPOSING = threading.Lock()


class UserConf(SearchPathPlugin):
    """`./conf` of the current folder adds options; it never replaces shipped ones."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append `./conf`."""
        if (folder := user_folder()) is not None:
            search_path.append("user", f"{OwnOptions.scheme()}://{folder}")


def user_folder() -> Path | None:
    """`./conf` of the current folder, if it exists and is not the shipped one."""
    here = Path.cwd() / "conf"
    return here.resolve() if here.is_dir() and here.resolve() != conf_folder().resolve() else None


def unread_options() -> list[str]:
    """One line per file in `./conf` that is not an option, and why."""
    folder = user_folder()
    return own_options.unread(folder, conf_folder()) if folder else []


def options(group: str) -> list[str]:
    """Names of a group's options, including the user's own."""
    folders = {conf_folder() / group, Path.cwd() / "conf" / group}
    return sorted({file.stem for folder in folders if folder.is_dir() for file in folder.glob("*.yaml")})


def _run_name(name: str) -> str:
    """A name that cannot lead out of the folder of sweeps; Hydra makes that folder before the config is checked."""
    return TypeAdapter(RunName).validate_python(name)


SWEEP = "HAFS_SWEEP"
"""Environment variable with the name of the running sweep; jobs in their own processes inherit it."""


_PARTS_OF_A_NAME = ("model", "quant", "dataset", "adapter")
"""Groups that the default name of a run consists of."""


def _sweep_name(name: str, _root_: DictConfig) -> str:
    """The folder of a sweep: decided once, though the overrides of a job may give another name."""
    if SWEEP in os.environ:
        return os.environ[SWEEP]
    nodes = {group: _root_.get(group) for group in _PARTS_OF_A_NAME}
    parts = {group: str(node.get("name", "")) for group, node in nodes.items() if isinstance(node, DictConfig)}
    whole = name_of_sweep(_run_name(name), _root_.hydra.overrides.task, parts)
    return whole if len(whole) <= _LONGEST_SWEEP else f"{whole[:_LONGEST_SWEEP]}-{_digest(whole)}"


def _job_name(varied: str) -> str:
    """One folder inside the sweep's, even if the varied values are paths."""
    name = varied.replace("/", "_").replace("\0", "_")
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 4]}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def register() -> None:
    """Register the user's `./conf` and our resolvers with Hydra; safe to call again."""
    Plugins.instance().register(UserConf)
    register_source()
    resolvers()


def resolvers() -> None:
    """Register the resolvers that `conf/` uses; safe to call again."""
    OmegaConf.register_new_resolver("shipped", shipped, replace=True)
    OmegaConf.register_new_resolver("called_after", called_after, replace=True)
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
    OmegaConf.register_new_resolver("sweep_name", _sweep_name, replace=True)
    OmegaConf.register_new_resolver("job_name", _job_name, replace=True)


def drop_unchosen(config: DictConfig, overrides: Sequence[str]) -> None:
    """Remove stages, providers and experts that an experiment tunes but that are not selected: these have no name.

    Raises:
        ConfigError: An override sets a value of one that is not selected.
    """
    for group in SEQUENCES:
        chosen = config.get(f"{group}s") or {}
        for name in [name for name, node in chosen.items() if "name" not in node]:
            for word in overrides:
                if word.lstrip("+~").startswith(f"{group}s.{name}."):
                    raise not_chosen(group, name, word, [n for n, node in chosen.items() if "name" in node])
            with open_dict(config):
                del config[f"{group}s"][name]


def not_chosen(group: str, name: str, word: str, chosen: Sequence[str]) -> ConfigError:
    """The error for an override of a stage, provider or expert that is not selected."""
    fact = f"{group} {name!r} is not selected, so {word!r} has no effect"
    return ConfigError(fact, hint=f"{group}={','.join([*chosen, name])}")


def groups() -> list[str]:
    """Names of the shipped config groups."""
    return sorted(path.name for path in conf_folder().iterdir() if path.is_dir())


def composed(command: str, overrides: Sequence[str]) -> DictConfig:
    """The config for overrides that are rewritten already; raises Hydra's own errors.

    Hydra's global state does not change: other threads, and the application that embeds hafs, may use it.
    """
    with _COMPOSING, _version_base():
        resolvers()
        register_source()
        own_options.loaded.clear()
        path = create_config_search_path(str(conf_folder()))
        folder = user_folder()
        if folder is not None and all(entry.provider != "user" for entry in path.get_path()):
            path.prepend("user", f"{OwnOptions.scheme()}://{folder}", "schema")  # which must stay the last
        config = ConfigLoaderImpl(path).load_configuration(
            command, list(overrides), run_mode=RunMode.RUN, from_shell=False, validate_sweep_overrides=True
        )
    with open_dict(config):
        config.pop("hydra", None)
    return config


@contextmanager
def _version_base() -> Iterator[None]:
    """Compose with the version of Hydra's behaviour that `conf/` is written for."""
    before = version.getbase()
    version.setbase(VERSION)
    try:
        yield
    finally:
        version.VersionBase.instance().version_base = before
