"""The only reader of a finished run: finds it by name, verifies its checksums, rebuilds its components."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hafs.core import durable, records
from hafs.core.errors import HafsError, RunError
from hafs.runs.run_folder import RECORD

ADAPTER = "adapter"
"""The folder of the best stage's adapter inside a run."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The content of `run.json`."""

    folder: Path
    config: dict[str, Any]
    """Resolved, without secrets."""
    data: str
    """Fingerprint of the prepared data."""
    base: str | None
    """SHA-256 over the weights of the base model; None: not recorded."""

    @property
    def adapter(self) -> Path:
        """The best stage's adapter."""
        return self.folder / ADAPTER

    @property
    def trained(self) -> str:
        """The time at which its adapter was written, ISO 8601, UTC."""
        when = (self.adapter / durable.MANIFEST).stat().st_mtime
        return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")

    def components(self, *groups: str) -> dict[str, Any]:
        """The run's own model, dataset and so on, built as in training.

        Args:
            groups: Their config groups.

        Raises:
            RunError: Another version of hafs wrote the record.
        """
        from omegaconf import DictConfig

        from hafs.config import build

        try:
            return {group: build(DictConfig(self.config[group])) for group in groups}
        except Exception as error:  # a builder may fail in any way on the config of another version
            if isinstance(error, HafsError):
                raise
            why = " ".join(str(error.__cause__ or error).split())[:120]
            fact = f"{self.folder / RECORD} was written by another version of hafs: {why}"
            raise RunError(fact, hint="train it again under another name=") from error


def find(name: str | None, *, what: str, root: Path = Path("outputs")) -> Path:
    """The folder of a run, by its name or its path.

    Args:
        name: None: the only run under `root`.
        what: The purpose, as a verb: evaluate, register.
        root: The folder of all runs.

    Raises:
        RunError: There is no such run, or no name was given and there are several.
    """
    from hafs.config.check import did_you_mean

    there = _names(root)
    listed = f"existing runs: {', '.join(there[:5])}" if there else "hafs train creates one"
    if name:
        found = next((path for path in (root / name, Path(name)) if (path / RECORD).is_file()), None)
        if found is None:
            near = did_you_mean(name, there)
            raise RunError(f"there is no run {name!r} in {root}", hint=near if near.startswith("did") else listed)
        return found
    if len(there) != 1:
        raise RunError(f"choose the run to {what} with name=; {root} contains {len(there)}", hint=listed)
    return root / there[0]


def _names(root: Path) -> Sequence[str]:
    """Names of runs, the newest first."""
    found = sorted(root.glob(f"*/{RECORD}"), key=lambda path: -path.stat().st_mtime)
    return [path.parent.name for path in found]


def read(folder: Path) -> Recorded:
    """The record of a run, or of the folder of a registered model.

    Raises:
        RunError: The record is missing or damaged.
    """
    path = folder / RECORD
    try:
        found = records.read_record(path)
        if found is None:
            raise RunError(f"{path} is missing", hint="restore a copy of it, or train the run again")
        return Recorded(folder=folder, config=dict(found["config"]), data=str(found["data"]), base=found.get("base"))
    except (records.Damaged, KeyError, TypeError, ValueError) as error:
        why = error if isinstance(error, records.Damaged) else f"{path} is not the record of a run: {error}"
        raise RunError(str(why), hint="restore a copy of it, or train the run again") from error


def finished(folder: Path) -> Recorded:
    """The record of a finished run, after verifying its adapter.

    Raises:
        RunError: The record is missing or damaged, the run is not finished, or its adapter is damaged.
    """
    found = read(folder)
    try:
        durable.verify(found.adapter)
    except durable.Damaged as damage:
        if not found.adapter.exists():
            hint = f"hafs train with the same overrides (name={folder.name}) resumes it"
            raise RunError(f"the run {folder} is not finished: it has no {ADAPTER}/ yet", hint=hint) from None
        raise RunError(f"the adapter of {folder} is damaged: {damage}", hint="train it again, or restore it") from None
    return found


def model_name(folder: Path) -> str | None:
    """The base model's name that a run recorded; None where there is no readable record."""
    try:
        return str(read(folder).config["model"]["name"])
    except (RunError, KeyError, TypeError):
        return None
