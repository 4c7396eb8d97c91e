"""Turns errors of Hydra and of the file system into one line each, with the word that was probably meant."""

import errno
import os
import re
from collections.abc import Iterator, Sequence

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hafs.config.check import did_you_mean
from hafs.config.extras import missing_extra
from hafs.config.overrides import ALIASES, SEQUENCES
from hafs.config.own_options import not_yaml
from hafs.config.tree import composed, groups, not_chosen, options
from hafs.core.errors import ConfigError, HafsError, RunError

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
_WRONG_PATH = (
    errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
_FOLDERS = ("HAFS_CACHE", "HAFS_STATE", "HAFS_REGISTRY")
"""Variables that name a folder or a file of hafs."""


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key}"
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _keys(child, f"{prefix}{key}.")


def _unknown_option(message: str) -> ConfigError | None:
    """`Could not find 'model/qwen14'` -> the option that was meant."""
    found = re.search(
        r"(?:Could not find|could not load) (?:'([\w/]+)/([^/']+)'|([\w/]+)/([^/'\s]+))", message, re.IGNORECASE
    )
    if not found:
        return None
    group, name = found[1] or found[3], found[2] or found[4]
    return ConfigError(f"{group} has no option {name!r}", hint=did_you_mean(name, options(group)))


def _unknown_key(command: str, overrides: Sequence[str]) -> ConfigError | None:
    """The first override whose key is not in the config that the other overrides give."""
    keyed = [word for word in overrides if "=" in word and "." in word.split("=", 1)[0]]
    try:
        config = composed(command, [word for word in overrides if "=" in word and word not in keyed])
    except (HydraException, OmegaConfBaseException):
        return None
    known = [key for key in _keys(config) if not key.startswith("hydra.")]
    for word in keyed:
        key = word.split("=", 1)[0].lstrip("~")
        if key.startswith(("+", "hydra.")) or key in known:
            continue
        unchosen = _unchosen(config, key, word)
        if unchosen:
            return unchosen
        parent = key.rsplit(".", 1)[0]
        siblings = [k for k in known if k.rsplit(".", 1)[0] == parent and "." in k] or known
        meant = did_you_mean(_as_typed(key), map(_as_typed, siblings))
        return ConfigError(f"there is no key {_as_typed(key)!r}", hint=f"{meant} (a new key: +{_as_typed(key)}=...)")
    return None


def _unchosen(config: DictConfig, key: str, word: str) -> ConfigError | None:
    """`stages.NAME.x` where NAME is an option that is not in the sequence."""
    place, name = key.split(".")[:2]
    group, chosen = place.removesuffix("s"), config.get(place) or {}
    if group in SEQUENCES and place != group and name in options(group) and name not in chosen:
        return not_chosen(group, name, word, list(chosen))
    return None


def _as_typed(key: str) -> str:
    """`stages.main.lr` as people type it: `stage.main.lr`."""
    for alias, target in ALIASES.items():
        key = alias + key.removeprefix(target) if key.startswith(target) else key
    return key


def _unknown_group(command: str, message: str) -> ConfigError | None:
    found = re.search(r"Could not override '(\w+)'|Key '(\w+)' is not in struct", message)
    if not found:
        return None
    word = found[1] or found[2]
    known = {str(key) for key in composed(command, [])} | set(groups())
    return ConfigError(f"there is no group or key {word!r}", hint=did_you_mean(word, known))


def _missing_value(message: str) -> ConfigError | None:
    """A value that another one is made from."""
    found = re.search(r"Missing mandatory value: ([\w.]+)", message)
    return ConfigError(f"{found[1]} has no value", hint=f"set {found[1]}=...") if found else None


def _several_values(message: str, command: str) -> ConfigError | None:
    """`adapter.r=4,8` without -m."""
    found = re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", message)
    if not found:
        return None
    key, value = _as_typed(found[1]), found[2]
    fact = f"{key} has several values, {value}, and hafs {command} runs once"
    return ConfigError(
        fact, hint=f"add -m to run each: -m {key}={value}; for one text with commas: \"{key}='{value}'\""
    )


def _no_value(message: str, command: str) -> ConfigError | None:
    found = re.search(r"parsing override '([^'=]*)' missing EQUAL", message)
    if not found:
        return None
    fact = f"{found[1]!r} is not an override of hafs {command}: overrides have the form key=value"
    return ConfigError(fact, hint=f"hafs {command} --help lists them")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def explain(error: Exception, command: str, overrides: Sequence[str]) -> HafsError | None:
    """One clear error for an error of Hydra, YAML or the file system, or a missing extra; None for anything else."""
    if missing := missing_extra(error):
        return missing
    for cause in causes(error):
        if isinstance(cause, HafsError):  # hafs' own code raised it; Hydra only wrapped it
            return cause
        if isinstance(cause, yaml.YAMLError):
            return not_yaml(cause)
    if isinstance(error, HydraException | OmegaConfBaseException):  # some of Hydra's are OSErrors too
        return _from_hydra(error, command, overrides)
    return _from_the_file_system(error) if isinstance(error, OSError) else None


def _from_the_file_system(error: OSError) -> RunError | None:
    """A full disk, a path that is not a folder, one that may not be read or written; None for anything else."""
    if error.errno in _CANNOT_WRITE:
        where = f" {error.filename}" if error.filename else " to disk"
        return RunError(
            f"cannot write{where}: {error.strerror}",
            hint="free some space or change the permissions; the same command continues",
        )
    if error.errno not in _WRONG_PATH or not error.filename:
        return None
    for name in _FOLDERS:  # a variable that leads to the wrong place is named
        if (folder := os.environ.get(name)) and str(error.filename).startswith(folder):
            fact = f"{name} is {folder!r}, which cannot be used: {error.filename}: {error.strerror}"
            return RunError(fact, hint=f"set {name} to a folder that this user can write, or unset it")
    return RunError(
        f"{error.filename}: {error.strerror}", hint="give this user read and write access, or choose another path"
    )


def _from_hydra(error: Exception, command: str, overrides: Sequence[str]) -> HafsError:
    message = " ".join(str(error).split())
    cause = " ".join(str(error.__cause__ or "").split())
    return (
        _missing_value(message)
        or _several_values(message, command)
        or _unknown_option(message)
        or _unknown_key(command, overrides)
        or _unknown_group(command, f"{message} {cause}")
        or _no_value(message, command)
        or ConfigError(_first_sentence(message), hint="HYDRA_FULL_ERROR=1 prints the traceback")
    )


def _first_sentence(message: str) -> str:
    return re.split(r"\s(?:See https?://|full_key:|object_type=|Set the environment)", message, maxsplit=1)[0]
