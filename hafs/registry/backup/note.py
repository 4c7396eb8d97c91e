"""The registry record of a model or a mixture, as a file in its backup."""

import tempfile
from pathlib import Path

import tomlkit

from hafs.registry.backup.remote import BackupError, Remote
from hafs.registry.record import TABLES, plain, read, table_of
from hafs.registry.registry import Entry

RECORD = "record.toml"


def place(remote: Remote, entry: Entry) -> str:
    """The folder of a backup."""
    return remote.at(table_of(entry), entry.name)


def put(remote: Remote, entry: Entry) -> None:
    """Write the record of an entry to its backup.

    Raises:
        BackupError: The copy failed.
    """
    with tempfile.TemporaryDirectory() as between:
        (Path(between) / RECORD).write_text(tomlkit.dumps({entry.name: plain(entry)}), encoding="utf-8")
        remote.copy(f"{between}/{RECORD}", place(remote, entry))


def noted(remote: Remote, name: str) -> Entry | None:
    """The record of a name in a backup; None: the backup does not contain it.

    Raises:
        BackupError: It cannot be read, or the remote cannot be asked.
    """
    table = next((table for table in TABLES if remote.exists(remote.at(table, name, RECORD))), None)
    if table is None:
        return None
    with tempfile.TemporaryDirectory() as between:
        remote.copy(remote.at(table, name, RECORD), between)
        try:
            ((noted_as, node),) = tomlkit.parse((Path(between) / RECORD).read_text(encoding="utf-8")).unwrap().items()
            found = read(table, noted_as, node)
        except (OSError, ValueError) as error:
            raise BackupError(f"{RECORD} of {name!r} in the backup cannot be read: {error}") from error
    if found.name != name:
        raise BackupError(f"the backup of {name!r} contains the record of {found.name!r}")
    return found
