"""From the registry to a remote."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hafs.core import durable, records
from hafs.core.errors import RunError
from hafs.registry.backup.note import RECORD, noted, place, put
from hafs.registry.backup.remote import BackupError, Remote
from hafs.registry.registry import Entry, Mixture, Record, Registry
from hafs.runs import finished, run_folder

Say = Callable[[str], None]
REPORT = "data_report.json"
_HASH = 32  # characters of a content hash that name a folder
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
        for source, where in _sources(remote, record, folder, say):
            if (where, source) not in done:
                done.add((where, source))
                _copy_source(remote, source, where, delete)
                say(f"{record.name}: its {'run' if source.is_dir() else 'data'} {source.name} verified at {where}")
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


def _copy_source(remote: Remote, source: Path, where: str, delete: bool) -> None:
    if source.is_dir():
        flags = [word for each in NOT_RUNS for word in ("--exclude", each)]
        remote.settle(source, where, *flags, delete=delete)
    else:
        remote.settle(source.parent, where, "--include", f"/{source.name}")


def _refuse_other_bytes(remote: Remote, entry: Entry) -> None:
    there = noted(remote, entry.name)
    if there is not None and there.bytes != entry.bytes:
        fact = f"{place(remote, there)} already contains another model named {entry.name!r}"
        raise BackupError(fact, hint="choose another target=")


def _sources(remote: Remote, record: Record, folder: Path, say: Say) -> list[tuple[Path, str]]:
    """The run and the data files of a model, if they still exist as it was trained on them, and where they go.

    A data file goes to a folder called after its content, so that later rows of the same name replace nothing.
    """
    run = Path("outputs") / record.run
    there = record.run and (run / run_folder.RECORD).is_file()
    found = [(run, remote.at("runs", run.name))] if there else []
    for path, digest in _trained_on(folder).items():
        if Path(path).is_file() and durable.hash_file(Path(path)) == digest:
            found.append((Path(path), remote.at("datasets", record.dataset, digest[:_HASH])))
        else:
            say(f"{record.name}: {path} is gone or has changed since the training, so it is not in this backup")
    return found


def _trained_on(folder: Path) -> dict[str, str]:
    """The data files of a model, with the hashes that its report recorded or, without a report, those of today."""
    try:
        report = records.read_record(folder / REPORT, unsealed="") or {}
        if "files" in report:
            return dict(report["files"])
        paths = finished.read(folder).config["dataset"]["path"]
    except (records.Damaged, RunError, KeyError, TypeError):
        return {}
    listed = [paths] if isinstance(paths, str) else list(paths)
    return {path: durable.hash_file(Path(path)) for path in listed if Path(path).is_file()}


def _size(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB"
