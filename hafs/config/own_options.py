"""Options in `./conf` of the user's own folder: a few lines are enough, and the file's name is the option's.

    specialization: bread, starters and ovens        conf/expert/bread.yaml is expert=bread: it needs no
    examples: [Why is my crumb gummy?]               `_target_`, no `name`, no `@package`
    adapter: bread-v1

A file without `_target_` and without `defaults` gets the keys that it leaves out from a shipped option of its group
(`BASES`). What a file must say itself is in `NEEDED`.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from hafs.config.overrides import SEQUENCES
from hafs.config.shipped import conf_folder
from hafs.core.errors import ConfigError

BASES = {
    "adapter": "lora", "callbacks": "default", "dataset": "jsonl", "expert": "general", "gate": "default",
    "metrics": "default", "model": "hub", "optimizer": "adamw", "policy": "default", "provider": "openai_compatible",
    "quant": "nf4", "stage": "main", "trainer": "auto",
}  # fmt: skip
"""By group: the shipped option whose values a short file takes over."""
NEEDED: Mapping[str, Mapping[str, str]] = {
    "expert": {"specialization": "what it is asked about, in one line", "examples": "a list of example questions"},
    "dataset": {"path": "the file with the rows"},
    "model": {"weights.repo": "owner/name on the hub, or a folder"},
    "provider": {"host.base_url": "the server's address, such as http://127.0.0.1:8080/v1", "models": "{coding: NAME}"},
}
"""By group: the keys that a short file must have itself, and what they are."""
_NAME = re.compile(r"[A-Za-z0-9][\w.+\-]*")
loaded: dict[str, Path] = {}
"""The user's files in the composed config, by the place of their keys in it: `model`, `experts.bread`."""


class OwnOptions(FileConfigSource):
    """A folder of options in which a file may leave out keys with defaults. Files that no group reads are rejected."""

    @staticmethod
    def scheme() -> str:
        """Of the folder in Hydra's search path."""
        return "hafs-own"

    def load_config(self, config_path: str) -> ConfigResult:
        """Read one option and complete it.

        Raises:
            ConfigError: The file is not YAML, does not hold keys, or leaves out a key without a default.
        """
        path = Path(self.path, self._normalize_file_name(config_path))
        group = Path(config_path).parent.as_posix()
        try:
            result = super().load_config(config_path)
        except yaml.YAMLError as error:
            raise not_yaml(error, path) from error
        if not isinstance(result.config, DictConfig):
            fact = f"{shown(path)} holds a list or a word, expected lines of the form key: value"
            raise ConfigError(fact, hint=f"hafs new {group} NAME writes a file with comments")
        if group == ".":  # a primary config
            return result
        package = f"{group}s.{path.stem}" if group in SEQUENCES else group
        result.config = completed(result.config, group, path)
        loaded[package] = path
        if group in SEQUENCES or group == "experiment":
            result.header["package"] = "_global_" if group == "experiment" else package
        return result


def unread(own: Path, shipped: Path) -> list[str]:
    """One line per file in the user's folder that no group reads: a shipped option's name, or another suffix."""
    lines = []
    for path in sorted(own.glob("*/*.y*ml")):
        if path.suffix == ".yml":
            lines.append(f"{shown(path)} is not read; rename it to {path.stem}.yaml")
        elif (shipped / path.parent.name / path.name).is_file():
            lines.append(
                f"{shown(path)} is not read: {path.parent.name}={path.stem} is an option of hafs; rename the file"
            )
    return lines


def register_source() -> None:
    """Make Hydra read folders with our scheme; safe to call again."""
    SourcesRegistry.instance().register(OwnOptions)


def completed(node: DictConfig, group: str, path: Path) -> DictConfig:
    """The option with the keys that its file leaves out.

    Args:
        node: The keys of the file.
        group: Its config group.
        path: The file, for messages and for the option's name.

    Raises:
        ConfigError: A key is missing that has no default, or the name contradicts the file's.
    """
    given = {} if node._is_none() else {str(key): node._get_node(key) for key in node}
    base = _base(group)
    named = "name" in base
    if named and not _NAME.fullmatch(path.stem):
        fact = f"{shown(path)}: an option's name is made of letters, digits, _ and -"
        raise ConfigError(fact, hint="rename the file")
    if group in SEQUENCES and "name" in given and str(given["name"]._value()) != path.stem:
        raise ConfigError(
            f"{shown(path)}: name is {given['name']._value()!r}, but the option is called after its file",
            hint="remove the key name, or rename the file",
        )
    if "_target_" in given or "defaults" in given or group not in BASES:
        more: dict[str, Any] = {"name": path.stem} if named and "name" not in given else {}
        if group in SEQUENCES and "defaults" in given:
            more["defaults"] = [_here(entry) for entry in node["defaults"]]
        return _with(node, more)
    _refuse_missing(node, group, path)
    if named:
        base["name"] = path.stem
    merged = OmegaConf.merge(base, _tidied(node, group, path.stem))
    assert isinstance(merged, DictConfig)
    return merged


def _base(group: str) -> DictConfig:
    """The keys of the shipped option that a short file of a group builds on; empty for a group without one."""
    if group not in BASES:
        return OmegaConf.create()
    base = OmegaConf.load(conf_folder() / group / f"{BASES[group]}.yaml")  # 5e-5 is a number to it, text to PyYAML
    assert isinstance(base, DictConfig)
    return base


def _here(entry: Any) -> Any:
    """An option that the file builds on, without the place that its own `@package` line names."""
    return f"{entry}@_here_" if isinstance(entry, str) and entry != "_self_" and not {"/", "@"} & {*entry} else entry


def _with(node: DictConfig, more: Mapping[str, Any]) -> DictConfig:
    merged = OmegaConf.merge(node, more)
    assert isinstance(merged, DictConfig)
    return merged


def _refuse_missing(node: DictConfig, group: str, path: Path) -> None:
    spelled = {
        key: difflib.get_close_matches(key.split(".")[0], map(str, node), 1, 0.8) for key in NEEDED.get(group, {})
    }
    lines = [
        f"{shown(path)} has no {key!r}: {meaning}"
        + (f" (it has {spelled[key][0]!r})" if spelled[key] and spelled[key][0] != key.split(".")[0] else "")
        for key, meaning in NEEDED.get(group, {}).items()
        if OmegaConf.select(node, key, throw_on_resolution_failure=False, throw_on_missing=False) in (None, "", [])
    ]
    if lines:
        raise ConfigError("\n".join(lines), hint=f"hafs new {group} NAME writes a file with comments")
    if unfilled := [key for key, value in _texts(node) if value.startswith("TODO ")]:
        raise ConfigError(f"{shown(path)}: {unfilled[0]!r} still says TODO", hint=f"write it, in {shown(path)}")


def _texts(node: Any, key: str = "") -> list[tuple[str, str]]:
    """Every text of a node, with the key that it is under."""
    if isinstance(node, str):
        return [(key, node)]
    plain = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
    items = (
        plain.items()
        if isinstance(plain, dict)
        else [(key, value) for value in plain]
        if isinstance(plain, list)
        else []
    )
    return [found for name, value in items for found in _texts(value, str(name))]


def _tidied(node: DictConfig, group: str, name: str) -> DictConfig:
    """The keys of the file, with those that follow from others."""
    if group == "expert":
        adapter = node.get("adapter")
        return _with({"model": adapter or f"{name}-v1", "threshold": 0.7, "keywords": [name]}, node)  # type: ignore[arg-type]
    if group == "provider":  # one model, or a few, stand for all tiers
        tiers = ("fast", "coding", "reasoning", "cheap", "fallback")
        more = {}
        for key in ("models", "context"):
            values = OmegaConf.to_container(node[key]) if OmegaConf.is_dict(node.get(key)) else {}
            if isinstance(values, dict) and values:
                first = values.get("coding", next(iter(values.values())))
                more[key] = {tier: values.get(tier, first) for tier in tiers} | values
        return _with(node, more)
    return node


def not_yaml(error: yaml.YAMLError, path: Path | None = None) -> ConfigError:
    """The error for a file that YAML cannot read: file, line and column, and what YAML expected."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = shown(path) if path else shown(Path(mark.name)) if mark and mark.name and "<" not in mark.name else "a file"
    at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    why = " ".join(str(getattr(error, "problem", None) or error).split())
    return ConfigError(
        f"{where}{at} is not valid YAML: {why}",
        hint="put text with : , [ ] or, in a list in brackets, ? into quotes; indent with spaces",
    )


def shown(path: Path) -> str:
    """The path as the user would type it."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near


def place(path: str) -> str:
    """The user's file that a dotted path of the config comes from, in brackets; empty if hafs ships it."""
    found = [package for package in loaded if path == package or path.startswith((f"{package}.", f"{package}["))]
    return f" ({shown(loaded[max(found, key=len)])})" if found else ""


def adapter_of(expert: str) -> str:
    """The adapter that an `expert=` option names; empty if it names none, or its file cannot be read."""
    for folder in (Path("conf"), conf_folder()):
        path = folder / "expert" / f"{expert}.yaml"
        try:
            return str((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("adapter") or "")
        except (OSError, ValueError, AttributeError, yaml.YAMLError):
            continue
    return ""
