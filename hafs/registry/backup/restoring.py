"""From a remote into the registry."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hafs.core import durable
from hafs.registry.backup.note import RECORD, noted, place
from hafs.registry.backup.remote import BackupError, Remote
from hafs.registry.registry import Entry, Mixture, Record, Registry

Say = Callable[[str], None]


def restore(registry: Registry, remote: Remote, name: str, say: Say) -> Entry:
    """Restore a model: copy it, verify every file, and add it to the registry as a candidate.

    Its parents, or the experts of a mixture, are restored too if they are not registered.

    Args:
        registry: The registry to restore to.
        remote: The target of the backup.
        name: The name of the model or the mixture, with its version.
        say: Prints one line.

    Raises:
        BackupError: The backup does not contain it, or is incomplete.
        RegistryError: The name belongs to another model here.
    """
    entry = noted(remote, name)
    if entry is None:
        there = [*remote.folders(remote.at("models")), *remote.folders(remote.at("mixtures"))]
        hint = f"it contains {', '.join(there)}" if there else f"it contains no model: rclone lsf {remote.target}"
        raise BackupError(f"there is no model {name!r} at {remote.target}", hint=hint)
    here = registry.entries()
    for needed in entry.experts if isinstance(entry, Mixture) else entry.parents:
        if needed not in here:
            restore(registry, remote, needed, say)
    fresh, again = replace(entry, status="candidate"), "renewed" if name in here else "restored"
    if isinstance(fresh, Mixture):
        added = registry.add(fresh)
        say(f"{name}: {again}, {added.status}")
        return added
    staging = _fetched(registry, remote, fresh)
    added = registry.add(fresh, lambda folder: _fill(folder, staging))
    shutil.rmtree(staging, ignore_errors=True)
    say(f"{name}: {again}, {added.status}, every byte verified")
    return added


def _fetched(registry: Registry, remote: Remote, record: Record) -> Path:
    """A folder next to the registry with a model's backup, after verifying it with its manifest."""
    staging = (
        registry.store.folder / f".restoring-{record.name}"
    )  # kept after a crash: the next attempt resumes from it
    staging.mkdir(parents=True, exist_ok=True)
    source = place(remote, record)
    remote.copy(source, str(staging), "--exclude", RECORD)
    try:
        durable.verify(staging)
    except durable.Damaged as damage:
        fact = f"the backup of {record.name!r} at {source} is incomplete or damaged: {damage}"
        raise BackupError(fact, hint="back it up again") from damage
    return staging


def _fill(folder: Path, staging: Path) -> None:
    for path in staging.iterdir():
        if path.is_file() and path.name != durable.MANIFEST:
            shutil.copy2(path, folder / path.name)
