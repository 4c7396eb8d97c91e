"""`registry.toml` on disk: safe for concurrent writers and for manual edits.

A change holds the lock, reads the current file, edits the parsed document (comments stay), and replaces the file
atomically. The text before each change is kept under `backups/`. An unreadable file is never overwritten. The last line
marks the end of the file: without it, a file truncated between two tables would be valid TOML with entries missing.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
from filelock import Timeout
from tomlkit.exceptions import TOMLKitError

from hafs.core import durable
from hafs.core.errors import HafsError
from hafs.registry import names
from hafs.registry.record import TABLES, Entry, Record, plain, read, table_of

HEAD = """\
# Models registered by hafs. You may edit this file: your comments and keys are kept.
schema = 1
"""
END = "# end of the registry: a file without this line was cut off"
KEPT = 30
"""Number of backups; the oldest are deleted first."""
LOCK_SECONDS = 60.0


class RegistryError(HafsError):
    """The registry cannot do what was asked, or cannot be read."""


class Page:
    """The file's content at one moment.

    Args:
        text: The whole file.

    Raises:
        ValueError: It is not a registry; the message says why.
    """

    def __init__(self, text: str) -> None:
        if END not in text.splitlines():
            raise ValueError(f"its last line is missing ({END!r}), so it was cut off")
        try:
            self.document = tomlkit.parse("\n".join(line for line in text.splitlines() if line != END) + "\n")
        except TOMLKitError as error:
            raise ValueError(f"it is not valid TOML: {error}") from error
        if self.document.get("schema") != 1:
            raise ValueError(f"schema is {self.document.get('schema')!r}, expected 1")
        self.entries = {entry.name: entry for entry in self._read()}
        self._refuse_two_in_production()

    def _read(self) -> Iterator[Entry]:
        plain_document = self.document.unwrap()
        for table in TABLES:
            found = plain_document.get(table, {})
            if not isinstance(found, dict):
                raise ValueError(f"{table} is not a table")
            for name, node in found.items():
                if not names.is_version(name) or not isinstance(node, dict):
                    raise ValueError(f"[{table}.{name}] is not a model's entry")
                yield read(table, name, node)

    def _refuse_two_in_production(self) -> None:
        standing = sorted(name for name, entry in self.entries.items() if entry.status == "production")
        for of, group in itertools.groupby(standing, names.family):
            if len(both := list(group)) > 1:
                raise ValueError(f"{' and '.join(both)} are both in production for {of}")

    @property
    def history(self) -> dict[str, list[str]]:
        """By family: the versions that were in production, the latest last."""
        found = self.document.get("history", {})
        return {of: [str(name) for name in listed] for of, listed in found.items()} if isinstance(found, dict) else {}

    def put(self, entry: Entry) -> None:
        """Add an entry, or update the changed values of an existing one; comments and your own keys stay."""
        table = self.document.setdefault(table_of(entry), tomlkit.table(is_super_table=True))
        if entry.name not in table:
            table[entry.name] = tomlkit.item(plain(entry))
        else:
            _update(table[entry.name], plain(entry))
        self.entries[entry.name] = entry

    def remember(self, of: str, listed: list[str]) -> None:
        """Record the versions that were in production for a family."""
        self.document.setdefault("history", tomlkit.table())[of] = listed

    def text(self) -> str:
        """The file's new content."""
        return tomlkit.dumps(self.document).rstrip("\n") + f"\n\n{END}\n"


def _update(node: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(node.get(key), dict):
            _update(node[key], value)
        elif key not in node or node[key] != value:
            node[key] = value


class Store:
    """The registry's file, its lock and its backups.

    Args:
        path: Path of `registry.toml`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}.d")
        self.backups = self.folder / "backups"

    def read(self) -> Page:
        """The current content; empty if there never was a registry.

        Raises:
            RegistryError: The file is damaged or missing.
        """
        try:
            return Page(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if any(self.backups.glob("*.toml")):
                raise self._unreadable("is missing") from None
            return Page(f"{HEAD}\n{END}\n")
        except (OSError, ValueError) as error:  # UnicodeDecodeError among them
            raise self._unreadable(f"cannot be read: {' '.join(str(error).split())}") from error

    def _unreadable(self, what: str) -> RegistryError:
        good = self.newest_good_backup()
        hint = (
            f"fix it by hand, or: cp {good} {self.path}"
            if good
            else "fix it by hand, or move it away; there is no backup"
        )
        return RegistryError(f"the registry {self.path} {what}", hint=hint)

    def newest_good_backup(self) -> Path | None:
        """The latest readable backup."""
        for path in sorted(self.backups.glob("*.toml"), reverse=True):
            try:
                Page(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            return path
        return None

    @contextmanager
    def change(self) -> Iterator[Page]:
        """Edit the page; it is written if the block ends without an error.

        Raises:
            RegistryError: Another process holds the lock for a minute, or the file is damaged or cannot be written.
        """
        try:
            for folder in (self.folder, self.backups):
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    durable.share(folder)
            with durable.lock(self.folder / "lock", seconds=LOCK_SECONDS):
                self._sweep()
                page = self.read()
                yield page
                self._write(page.text())
        except Timeout as error:
            fact = f"another process has locked the registry {self.path} for {LOCK_SECONDS:.0f} s"
            raise RegistryError(fact, hint="try again") from error
        except OSError as error:
            raise RegistryError(f"the registry {self.path} cannot be written: {error.strerror or error}") from error

    def _write(self, text: str) -> None:
        Page(text)  # never write text that cannot be read again
        if self.path.exists():
            old = self.path.read_text(encoding="utf-8")
            if old == text:
                return
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
            durable.write_text(self.backups / f"{stamp}.toml", old)
            for path in sorted(self.backups.glob("*.toml"))[:-KEPT]:
                path.unlink(missing_ok=True)
        durable.write_text(self.path, text)

    def _sweep(self) -> None:
        """Delete the drafts of killed processes; call it only under the lock."""
        durable.sweep_leftovers(self.folder)
        durable.sweep_leftovers(self.backups)
        durable.drop_drafts(self.path)  # the surrounding folder is not ours

    def adapter_folder(self, record: Record) -> Path:
        """The adapter's folder according to its record."""
        return self.path.parent / Path(record.adapter).expanduser()
