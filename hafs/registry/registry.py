"""The registry: the registered models, their records, and which version is in production.

registry.toml        the records, editable by hand           names.py     {project}-{domain}-v{version}
registry/NAME/       the adapter, its card, config, figures  record.py    the record of a model
registry/backups/    earlier registry.toml                   store.py     the file on disk: locked, atomic, backed up
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hafs.core import durable
from hafs.core.state import data_folder
from hafs.registry import names
from hafs.registry.record import Entry, GateRecord, MetricRecord, Mixture, Record, Status
from hafs.registry.store import Page, RegistryError, Store

__all__ = [
    "Entry",
    "GateRecord",
    "MetricRecord",
    "Mixture",
    "Record",
    "Registry",
    "RegistryError",
    "default_path",
    "names",
    "production",
    "registry",
]

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
WHOLE_MODEL = ("model.safetensors", "config.json")
"""The same two files for a run without an adapter."""


class Registry:
    """The registry in a file.

    Args:
        path: Path of `registry.toml`; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.store = Store(path)

    @classmethod
    def open(cls, path: Path | str | None = None) -> "Registry":
        """The registry at a path; None: the user's own."""
        return cls(Path(path).expanduser() if path else default_path())

    @property
    def path(self) -> Path:
        """Of `registry.toml`."""
        return self.store.path

    # reading -------------------------------------------------------------------------------------------------------

    def entries(self) -> Mapping[str, Entry]:
        """Models and mixtures by name.

        Raises:
            RegistryError: The file is damaged.
        """
        return self.store.read().entries

    def get(self, name: str) -> Entry:
        """One model or mixture; for a family, the one in production.

        Raises:
            RegistryError: There is no such entry.
        """
        return _get(self.store.read(), name)

    def adapter(self, name_or_path: str | Path) -> Path:
        """The folder of an adapter: the given path if it contains one, else that of a registered model, verified.

        Raises:
            RegistryError: It is neither, or the files have changed since registration.
        """
        folder = Path(name_or_path).expanduser()
        if (folder / CONFIG).is_file() or (folder / WHOLE_MODEL[0]).is_file():
            return folder
        record = self.get(str(name_or_path))
        if not isinstance(record, Record):
            fact = f"{record.name!r} is a mixture of {record.described}, it has no adapter"
            raise RegistryError(fact, hint=f"hafs ask mixture={name_or_path}")
        return self.verified(record)

    def verified(self, record: Record) -> Path:
        """The folder of a record's adapter, after comparing its hashes.

        Raises:
            RegistryError: The files have changed since registration.
        """
        folder = self.store.adapter_folder(record)
        try:
            same = fingerprint(folder) == record.bytes
        except FileNotFoundError as error:
            raise RegistryError(
                f"a file of {record.name!r} is missing: {error.filename}", hint=f"hafs restore target=... {record.name}"
            ) from error
        except OSError as error:
            raise RegistryError(f"{record.name!r} cannot be read: {error.strerror}: {error.filename}") from error
        if not same:
            raise RegistryError(
                f"the files in {folder} have changed since {record.name!r} was registered",
                hint=f"hafs restore target=... {record.name}",
            )
        return folder

    def whole(self, record: Record) -> Path:
        """The folder of a record, after verifying every file in it: also run.json, held-out prompts and the card.

        Raises:
            RegistryError: A file has changed since registration.
        """
        folder = self.verified(record)
        try:
            durable.verify(folder)
        except durable.Damaged as damage:
            raise RegistryError(
                f"files of {record.name!r} in {folder} are damaged: {damage}",
                hint=f"hafs register name={record.run} under={record.name} writes them again, or hafs restore "
                f"target=... {record.name}",
            ) from damage
        return folder

    def propose(self, family: str, bytes_: tuple[str, ...] | None = None) -> str:
        """A name for a new version of a family: the next one, or the one under which these bytes are registered."""
        entries = self.entries()
        for name, entry in entries.items():
            if names.family(name) == family and entry.bytes == bytes_:
                return name
        return names.next_version(family, [*entries, *self._folders()])

    def _folders(self) -> list[str]:
        return [path.name for path in self.store.folder.glob("*-v*") if (path / durable.MANIFEST).exists()]

    # writing -------------------------------------------------------------------------------------------------------

    def add(self, entry: Entry, write: Callable[[Path], object] | None = None) -> Entry:
        """Register a model or a mixture. The same bytes under the same name only update the record.

        Args:
            entry: Its `status` is used only if it is new; its `adapter` is set here if `write` is given.
            write: Fills the model's own folder: the adapter and its accompanying files.

        Raises:
            RegistryError: The name belongs to a different model, or a parent or expert is not registered.
        """
        names.checked(entry.name)
        with self.store.change() as page:
            old = page.entries.get(entry.name)
            if old is not None:
                _refuse_other_bytes(old, entry, page)
                entry = replace(entry, status=old.status, registered=old.registered)
            _refuse_unknown(entry, page)
            if write is not None and isinstance(entry, Record):
                folder = durable.commit(self.store.folder / entry.name, write)
                entry = replace(entry, adapter=os.path.relpath(folder, self.path.parent))
                self.verified(entry)
            page.put(entry)
        return entry

    def promote(self, name: str) -> str | None:
        """Put a version into production for its family; returns the version that was in production before.

        Raises:
            RegistryError: There is no such version, or its files have changed since registration.
        """
        with self.store.change() as page:
            if not names.is_version(name):
                latest = max((n for n in page.entries if names.family(n) == name), key=names.version, default=None)
                hint = f"the latest is {latest}" if latest else "hafs models lists all models"
                raise RegistryError(f"{name!r} is not a version", hint=hint)
            entry = _get(page, name)
            self._verify_all(page, entry)
            return _put_into_production(page, entry, [*_history(page, names.family(name)), name])

    def revert(self, family: str) -> tuple[str, str]:
        """Undo the last promotion of a family; returns the retired version and the one now in production.

        Raises:
            RegistryError: No version is in production, or there was none before it.
        """
        with self.store.change() as page:
            if names.is_version(family):
                raise RegistryError(
                    f"{family!r} is one version, expected a family", hint=f"hafs revert {names.family(family)}"
                )
            leaving = _get(page, family)
            before = [name for name in _history(page, family) if name != leaving.name and name in page.entries]
            if not before:
                raise RegistryError(
                    f"{leaving.name!r} is the first version of {family!r} in production, so there is no earlier one",
                    hint="hafs promote NAME selects another version",
                )
            again = page.entries[before[-1]]
            self._verify_all(page, again)
            _put_into_production(page, again, before)
            return leaving.name, again.name

    def _verify_all(self, page: Page, entry: Entry) -> None:
        for model in [entry] if isinstance(entry, Record) else [_get(page, name) for name in entry.experts]:
            if isinstance(model, Record):
                self.verified(model)


def _get(page: Page, name: str) -> Entry:
    if name in page.entries:
        return page.entries[name]
    versions = {n: e for n, e in page.entries.items() if names.family(n) == name}
    found = [entry for entry in versions.values() if entry.status == "production"]
    if found:
        return found[0]
    if versions:
        raise RegistryError(
            f"no version of {name!r} is in production", hint=f"hafs promote {max(versions, key=names.version)}"
        )
    from hafs.config.check import did_you_mean

    hint = did_you_mean(name, page.entries) or "the registry is empty: hafs register name=RUN"
    raise RegistryError(f"{name[:120]!r} is not in the registry", hint=hint)


def _history(page: Page, family: str) -> list[str]:
    """The versions that were in production, the latest last; manual promotions included."""
    listed = page.history.get(family, [])
    now = [n for n, e in page.entries.items() if names.family(n) == family and e.status == "production"]
    return [name for name in listed if name not in now] + now


def _put_into_production(page: Page, entry: Entry, listed: list[str]) -> str | None:
    of, before = names.family(entry.name), None
    for other in list(page.entries.values()):
        if names.family(other.name) == of and other.status == "production" and other.name != entry.name:
            page.put(_with_status(other, "retired"))
            before = other.name
    page.put(_with_status(entry, "production"))
    page.remember(of, list(dict.fromkeys(reversed(listed)))[::-1])
    return before


def _with_status(entry: Entry, status: Status) -> Entry:
    return replace(entry, status=status)


def _refuse_other_bytes(old: Entry, new: Entry, page: Page) -> None:
    if type(old) is not type(new) or old.bytes != new.bytes:
        proposed = names.next_version(names.family(new.name), page.entries)
        raise RegistryError(
            f"the name {new.name!r} belongs to another model; names are immutable", hint=f"under={proposed}"
        )


def _refuse_unknown(entry: Entry, page: Page) -> None:
    for name in entry.parents if isinstance(entry, Record) else entry.experts:
        _get(page, name)


def fingerprint(folder: Path) -> tuple[str, str]:
    """SHA-256 of the tensors and of the config of an adapter, or of a whole model.

    Raises:
        FileNotFoundError: One of the files does not exist.
    """
    pair = (TENSORS, CONFIG) if (folder / TENSORS).exists() or not (folder / WHOLE_MODEL[0]).exists() else WHOLE_MODEL
    tensors, config = (_sha256(folder / name) for name in pair)
    return tensors, config


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_path() -> Path:
    """`$HAFS_REGISTRY`, else `registry.toml` in `$HAFS_STATE`, else in the user's data folder."""
    named = os.environ.get("HAFS_REGISTRY")
    return Path(named).expanduser() if named else data_folder() / "registry.toml"


def production(name: str, *, path: Path | str | None = None) -> Path:
    """The adapter in production for a family (`hyrule-asm`), or that of one version (`hyrule-asm-v1`).

    Raises:
        RegistryError: There is none, or its files have changed since registration.
    """
    return Registry.open(path).adapter(name)


def registry(*, path: str | None) -> Registry:
    """The registry that the `registry` group describes; nothing is read yet."""
    return Registry.open(path)
