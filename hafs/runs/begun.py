"""A run that began under an earlier default continues with the same command: it keeps its folder, stages and names.

The user's own rows were called `jsonl`, and trained with the epochs, rates and warm-up steps of `conf/stage/`. Today
the file names them, and their size chooses the rest. Values that the command sets stay; `config_changes` checks them.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from hafs.config import plain
from hafs.config.earlier import current
from hafs.config.overrides import called_after
from hafs.core import records
from hafs.runs.config_changes import flat
from hafs.runs.run_folder import RECORD, run_folder

ROWS = "jsonl"
"""The name that every dataset of rows had."""
GIVEN = "hafs.training.stage.Stage"
"""The `_target_` of a stage whose values are given."""
FITTED = ("share", "fewest_steps")
"""Keys of a stage whose values are chosen by size, and of no other."""


def begun_folder(config: DictConfig) -> Path:
    """Where a run lives; the folder of its earlier name, if it began there and not under the present one.

    Raises:
        RunError: `resume` is a path without a run.
    """
    folder = run_folder(config.name, config.resume)
    if config.resume != "auto" or folder.exists() or not _named_by_file(config):
        return folder
    before = _changed(config, {"dataset": {"name": ROWS}})
    earlier = run_folder(before.name, config.resume)
    same = ((_recorded(earlier) or {}).get("dataset") or {}).get("path") == config.dataset.path
    return earlier if same else folder


def as_begun(config: DictConfig, folder: Path) -> tuple[DictConfig, list[str]]:
    """The config with what the run in this folder chose by an earlier default, and those values as `key: value`."""
    before = _recorded(folder)
    if before is None:
        return config, []
    now = plain(config)
    stages = before.get("stages") or {}
    kept = {name: _stage(stages[name], node) for name, node in (now.get("stages") or {}).items() if name in stages}
    changed: dict[str, Any] = {"stages": {name: node for name, node in kept.items() if node != now["stages"][name]}}
    old = before.get("dataset") or {}
    if _named_by_file(config) and old.get("path") == now["dataset"]["path"] and "name" in old:
        changed["dataset"] = {"name": old["name"]}
    found = _changed(config, changed)
    then, values = flat(now), flat(plain(found))
    told = [key for key in values if values[key] != then.get(key) and not key.endswith("._target_")]
    return found, [f"{key}: {values[key]}" for key in told]


def _stage(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A stage with the recorded values, where today's are chosen by size."""
    found = dict(now)
    if before.get("_target_") != GIVEN:
        return found
    if now.get("_target_") != GIVEN:
        given = {key: value for key, value in now.items() if key not in FITTED}
        found = {key: before.get(key) if value == "auto" else value for key, value in given.items()}
        found["_target_"] = GIVEN
    if found.get("warmup_steps", 0) is None:
        found["warmup_steps"] = before.get("warmup_steps")
    return found


def _named_by_file(config: DictConfig) -> bool:
    dataset = config.dataset
    return dataset.get("path") is not None and dataset.name == called_after(dataset.path)


def _changed(config: DictConfig, values: Mapping[str, Mapping[str, Any]]) -> DictConfig:
    """A copy with other values; a group's node is replaced whole, where the value is one."""
    found = deepcopy(config)
    for group, nodes in values.items():
        for key, value in nodes.items():
            with flag_override(found, ["readonly", "struct"], [False, False]):
                OmegaConf.update(found, f"{group}.{key}", value, merge=False, force_add=True)
    return found


def _recorded(folder: Path) -> dict[str, Any] | None:
    """The config of the run in a folder; None where there is none, or it cannot be read: `Run.compare` says so."""
    try:
        noted = records.read_record(folder / RECORD)
    except records.Damaged:
        return None
    return None if noted is None else current(noted["config"])
