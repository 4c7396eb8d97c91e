"""From the registry to a remote."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hafs.core import durable
from hafs.core.errors import RunError
from hafs.registry.backup.note import RECORD, noted, place, put
from hafs.registry.backup.remote import BackupError, Remote
from hafs.registry.registry import Entry, Mixture, Record, Registry
from hafs.runs import finished, run_folder

Say = Callable[[str], None]
NOT_RUNS = ("checkpoints/**", ".lock", ".*/**", "logs/**")


def backup(registry: Registry, remote: Remote, *, names: Sequence[str], delete: bool, say: Say) -> None:
    """Copy registered models, their runs and datasets, then the registry, and verify each by hash.

    Args:
        registry: The registry to copy from.
        remote: The target.
        names: Models and mixtures; empty: all of them.
        delete: In each copied folder, delete files that no longer exist at the source.
        say: Prints one line.

    Raises:
        BackupError: A copy failed, or differs from its source.
        RegistryError: There is no such model, or its files have changed.
    """
    chosen = _with_experts(registry, names or list(registry.entries()))
    if not chosen:
        raise BackupError(f"there is nothing to back up, {registry.path} is empty", hint="hafs register name=RUN")
    done: set[tuple[str, Path]] = set()
    for record in (entry for entry in chosen if isinstance(entry, Record)):
        folder, target = registry.whole(record), place(remote, record)
        _refuse_other_bytes(remote, record)
        remote.settle(folder, target, "--exclude", durable.MANIFEST, "--exclude", RECORD, delete=delete)
        remote.copy(str(folder / durable.MANIFEST), target)  # last: a folder without it is incomplete
        put(remote, record)
        say(f"{record.name}: {_size(folder)} verified at {target}")
        for kind, source in _sources(record, folder):
            where = remote.at(kind, source.name if kind == "runs" else record.dataset)
            if (where, source) not in done:
                done.add((where, source))
                _copy_source(remote, kind, source, where, delete)
                say(f"{record.name}: its {kind.removesuffix('s')} {source.name} verified at {where}")
    for mixture in (entry for entry in chosen if isinstance(entry, Mixture)):
        _refuse_other_bytes(remote, mixture)
        put(remote, mixture)
        say(f"{mixture.name}: recorded at {place(remote, mixture)}")
    remote.copy(str(registry.path), remote.target)
    say(f"{registry.path.name}: copied to {remote.target}")


def _with_experts(registry: Registry, names: Sequence[str]) -> list[Entry]:
    """Entries by name, those of a mixture's experts before it."""
    found: dict[str, Entry] = {}
    for entry in map(registry.get, names):
        experts = [registry.get(name) for name in entry.experts] if isinstance(entry, Mixture) else []
        found |= {each.name: each for each in [*experts, entry]}
    return list(found.values())


def _copy_source(remote: Remote, kind: str, source: Path, where: str, delete: bool) -> None:
    flags = [word for each in NOT_RUNS for word in ("--exclude", each)] if kind == "runs" else []
    if source.is_dir():
        remote.settle(source, where, *flags, delete=delete)
    else:
        remote.settle(source.parent, where, "--include", f"/{source.name}")


def _refuse_other_bytes(remote: Remote, entry: Entry) -> None:
    there = noted(remote, entry.name)
    if there is not None and there.bytes != entry.bytes:
        fact = f"{place(remote, there)} already contains another model named {entry.name!r}"
        raise BackupError(fact, hint="choose another target=")


def _sources(record: Record, folder: Path) -> list[tuple[str, Path]]:
    """The run and the data files of a model, if they still exist."""
    run = Path("outputs") / record.run
    found = [("runs", run)] if record.run and (run / run_folder.RECORD).is_file() else []
    try:
        paths = finished.read(folder).config["dataset"]["path"]
    except (RunError, KeyError, TypeError):
        return found
    listed = [paths] if isinstance(paths, str) else list(paths)
    return found + [("datasets", Path(path)) for path in listed if Path(path).is_file()]


def _size(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB"
