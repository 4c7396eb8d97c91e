"""The registry: which models there are, what is known of each, and which one answers.

registry.toml        what is known, yours to edit            names.py     {project}-{domain}-v{version}
registry/NAME/       the adapter, its card, config, figures  record.py    what is known of a model
registry/backups/    earlier registry.toml                   book.py      the file on disk: locked, whole, kept
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hafs.core import durable
from hafs.registry import names
from hafs.registry.record import Entry, GateRecord, Measured, Mixture, Record, Status
from hafs.registry.store import Book, Page, RegistryError

__all__ = [
    "Entry",
    "GateRecord",
    "Measured",
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
"""The same two of a run without an adapter."""


class Registry:
    """The registry in a file.

    Args:
        path: Of `registry.toml`; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.book = Book(path)

    @classmethod
    def open(cls, path: Path | str | None = None) -> "Registry":
        """The registry at a path; None: the user's own."""
        return cls(Path(path).expanduser() if path else default_path())

    @property
    def path(self) -> Path:
        """Of `registry.toml`."""
        return self.book.path

    # asking --------------------------------------------------------------------------------------------------------

    def entries(self) -> Mapping[str, Entry]:
        """Models and mixtures by name.

        Raises:
            RegistryError: The file is damaged.
        """
        return self.book.read().entries

    def get(self, name: str) -> Entry:
        """One model or mixture; of a family, the one in production.

        Raises:
            RegistryError: There is none of that name.
        """
        return _get(self.book.read(), name)

    def adapter(self, name_or_path: str | Path) -> Path:
        """The folder of an adapter: a path that holds one, or that of a registered model with all its bytes.

        Raises:
            RegistryError: It is neither, or the bytes are not those that were registered.
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
        """The folder of a record's adapter.

        Raises:
            RegistryError: The bytes are not those that were registered.
        """
        folder = self.book.adapter_folder(record)
        try:
            same = fingerprint(folder) == record.bytes
        except FileNotFoundError as error:
            raise RegistryError(
                f"{record.name!r} has lost {error.filename}", hint=f"hafs restore target=... {record.name}"
            ) from error
        except OSError as error:
            raise RegistryError(f"{record.name!r} cannot be read: {error.strerror}: {error.filename}") from error
        if not same:
            raise RegistryError(
                f"the bytes in {folder} are not those that were registered as {record.name!r}",
                hint=f"hafs restore target=... {record.name}",
            )
        return folder

    def whole(self, record: Record) -> Path:
        """The folder of a record with all that is kept in it: run.json, held-out prompts and the card among it.

        Raises:
            RegistryError: A file is not what was registered.
        """
        folder = self.verified(record)
        try:
            durable.verify(folder)
        except durable.Damaged as damage:
            raise RegistryError(
                f"the files kept with {record.name!r} in {folder} are damaged: {damage}",
                hint=f"hafs register name={record.run} under={record.name} writes them again, or hafs restore "
                f"target=... {record.name}",
            ) from damage
        return folder

    def propose(self, family: str, bytes_: tuple[str, ...] | None = None) -> str:
        """A name for a new version of a family: the next one, or the one that these bytes have already."""
        entries = self.entries()
        for name, entry in entries.items():
            if names.family(name) == family and entry.bytes == bytes_:
                return name
        return names.next_version(family, [*entries, *self._folders()])

    def _folders(self) -> list[str]:
        return [path.name for path in self.book.folder.glob("*-v*") if (path / durable.MANIFEST).exists()]

    # changing ------------------------------------------------------------------------------------------------------

    def add(self, entry: Entry, write: Callable[[Path], object] | None = None) -> Entry:
        """Register a model or a mixture. The same bytes under the same name only renew what is known of them.

        Args:
            entry: Its `status` counts only if it is new; its `adapter` is set here if `write` is given.
            write: Fills the model's own folder: the adapter, and what goes with it.

        Raises:
            RegistryError: The name belongs to other bytes, or a named parent or expert is not registered.
        """
        names.checked(entry.name)
        with self.book.change() as page:
            old = page.entries.get(entry.name)
            if old is not None:
                _refuse_other_bytes(old, entry, page)
                entry = replace(entry, status=old.status, registered=old.registered)
            _refuse_unknown(entry, page)
            if write is not None and isinstance(entry, Record):
                folder = durable.commit(self.book.folder / entry.name, write)
                entry = replace(entry, adapter=os.path.relpath(folder, self.path.parent))
                self.verified(entry)
            page.put(entry)
        return entry

    def promote(self, name: str) -> str | None:
        """Let a version answer for its family from now on; returns the version that did so before.

        Raises:
            RegistryError: There is no such version, or its bytes are not what was registered.
        """
        with self.book.change() as page:
            if not names.is_version(name):
                latest = max((n for n in page.entries if names.family(n) == name), key=names.version, default=None)
                hint = f"the latest is {latest}" if latest else "hafs models shows what there is"
                raise RegistryError(f"{name!r} names no version", hint=hint)
            entry = _get(page, name)
            self._verify_all(page, entry)
            return _put_into_production(page, entry, [*_history(page, names.family(name)), name])

    def revert(self, family: str) -> tuple[str, str]:
        """Undo the last promotion of a family; returns the version that leaves and the one that answers again.

        Raises:
            RegistryError: There is none, or nothing before it.
        """
        with self.book.change() as page:
            if names.is_version(family):
                raise RegistryError(
                    f"{family!r} is one version, expected a family", hint=f"hafs revert {names.family(family)}"
                )
            leaving = _get(page, family)
            before = [name for name in _history(page, family) if name != leaving.name and name in page.entries]
            if not before:
                raise RegistryError(
                    f"{leaving.name!r} is the first of {family!r} in production, there is none to go back to",
                    hint="hafs promote NAME chooses another",
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

    hint = did_you_mean(name, page.entries) or "it is empty: hafs register name=RUN"
    raise RegistryError(f"{name[:120]!r} is not in the registry", hint=hint)


def _history(page: Page, family: str) -> list[str]:
    """What was in production, the latest last; a promotion by hand counts."""
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
            f"the name {new.name!r} belongs to another model, and is never reused", hint=f"under={proposed}"
        )


def _refuse_unknown(entry: Entry, page: Page) -> None:
    for name in entry.parents if isinstance(entry, Record) else entry.experts:
        _get(page, name)


def fingerprint(folder: Path) -> tuple[str, str]:
    """SHA-256 of an adapter's tensors and of its config; of a whole model likewise.

    Raises:
        FileNotFoundError: One of them is not there.
    """
    pair = (TENSORS, CONFIG) if (folder / TENSORS).exists() or not (folder / WHOLE_MODEL[0]).exists() else WHOLE_MODEL
    tensors, config = (_sha256(folder / name) for name in pair)
    return tensors, config


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_path() -> Path:
    """`$HAFS_REGISTRY`, else `registry.toml` in the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get("HAFS_REGISTRY")
    return Path(named).expanduser() if named else user_data_path("hafs", appauthor=False) / "registry.toml"


def production(name: str, *, path: Path | str | None = None) -> Path:
    """The adapter that answers for a family (`hyrule-asm`), or that of one version (`hyrule-asm-v1`).

    Raises:
        RegistryError: There is none, or its bytes are not what was registered.
    """
    return Registry.open(path).adapter(name)


def registry(*, path: str | None) -> Registry:
    """The registry that the `registry` group describes; nothing is read yet."""
    return Registry.open(path)
