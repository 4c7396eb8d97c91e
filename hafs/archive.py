"""Backups with rclone: registered models, their runs and datasets, to any remote that rclone knows.

    TARGET/models/NAME/...        a registered model's folder, with MANIFEST.json, copied last
    TARGET/models/NAME/record.toml  what the registry knows of it
    TARGET/runs/NAME/...          the run it came from, without checkpoints
    TARGET/datasets/NAME/...      the source files of its data
    TARGET/registry.toml          the whole registry

Copies are rclone's: incremental (by hash), resumed by running again, checked by hash afterwards, and never deleting.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import tomlkit

from hafs import durable
from hafs.errors import HafsError
from hafs.registry import Record, Registry
from hafs.registry.record import plain, read

Say = Callable[[str], None]
RECORD = "record.toml"
FLAGS = ("--checksum", "--retries", "3", "--low-level-retries", "5", "--stats", "0")
NOT_RUNS = ("checkpoints/**", ".lock", ".*/**", "logs/**")


class BackupError(HafsError):
    """A copy could not be made, or is not what was copied."""


class Remote:
    """A place that rclone can reach.

    Args:
        target: `remote:path`, or a folder.

    Raises:
        BackupError: rclone is not installed, or the target is empty.
    """

    def __init__(self, target: str) -> None:
        if shutil.which("rclone") is None:
            fact = "backups need rclone, which is not installed"
            raise BackupError(fact, hint="apt-get install rclone, or https://rclone.org/install")
        if not target or target.startswith("-"):
            fact = f"target {target!r} is no place, expected remote:path or a folder"
            raise BackupError(fact, hint="target=drive:hafs")
        self.target = target.rstrip("/") if len(target) > 1 else target

    def at(self, *parts: str) -> str:
        """A path below the target."""
        lead = self.target if self.target.endswith((":", "/")) else f"{self.target}/"
        return lead + "/".join(parts)

    def copy(self, source: str, target: str, *flags: str) -> None:
        """Copy what is new or different; nothing is deleted.

        Raises:
            BackupError: rclone failed; running again goes on from here.
        """
        self._run("copy", source, target, *FLAGS, *flags)

    def mirror(self, source: str, target: str, *flags: str) -> None:
        """Copy, and delete at the target what is not at the source."""
        self._run("sync", source, target, *FLAGS, *flags)

    def verify(self, source: str, target: str, *flags: str) -> None:
        """Hold every file at the source against the target's, by hash; where the remote has none, byte by byte.

        Raises:
            BackupError: One is missing or different.
        """
        self._run("check", source, target, "--one-way", *(("--download",) if not self._hashes(target) else ()), *flags)

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        done = self._try("lsf", path)
        return done.returncode == 0 and bool(done.stdout.strip())

    def _hashes(self, target: str) -> bool:
        done = self._try("backend", "features", target)
        return done.returncode == 0 and '"Hashes": []' not in done.stdout and '"Hashes": null' not in done.stdout

    def _run(self, *words: str) -> None:
        done = self._try(*words)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            why = next((line for line in lines if "ERROR" in line or "Failed" in line or "CRITICAL" in line), "")
            told = (why or (lines or ["it says nothing"])[-1]).split(": ", 1)[-1]
            raise BackupError(
                f"rclone {words[0]} {words[1]} -> {words[2]} failed: {told[:300]}",
                hint="the same command again goes on where it stopped; rclone config knows the remotes",
            )

    def _try(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["rclone", *words], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def backup(registry: Registry, remote: Remote, *, names: Sequence[str], delete: bool, say: Say) -> None:
    """Copy registered models, their runs and datasets, then the registry, and verify each by hash.

    Args:
        registry: What is copied.
        remote: Where to.
        names: Models; empty: all of them.
        delete: Delete within each copied folder what is no longer at its source.
        say: Prints one line.

    Raises:
        BackupError: A copy failed, or is not what was copied.
        RegistryError: There is no such model, or its bytes have changed.
    """
    entries = registry.entries()
    chosen = [registry.get(name) for name in names] if names else list(entries.values())
    put = remote.mirror if delete else remote.copy
    done: set[str] = set()
    for record in (entry for entry in chosen if isinstance(entry, Record)):
        folder, target = registry.verified(record), remote.at("models", record.name)
        _refuse_other_bytes(remote, record, target)
        _settle(remote, put, folder, target, "--exclude", durable.MANIFEST, "--exclude", RECORD)
        remote.copy(str(folder / durable.MANIFEST), target)  # last: a folder without it was cut off
        with tempfile.TemporaryDirectory() as between:
            (Path(between) / RECORD).write_text(tomlkit.dumps({record.name: plain(record)}), encoding="utf-8")
            remote.copy(f"{between}/{RECORD}", target)
        say(f"{record.name}: {_size(folder)} verified at {target}")
        for kind, source in _sources(record, folder):
            where = remote.at(kind, source.name if kind == "runs" else record.dataset)
            if where + str(source) in done:
                continue
            done.add(where + str(source))
            flags = [word for each in NOT_RUNS for word in ("--exclude", each)] if kind == "runs" else []
            if source.is_dir():
                _settle(remote, put, source, where, *flags)
            else:
                _settle(remote, remote.copy, source.parent, where, "--include", f"/{source.name}")
            say(f"{record.name}: {kind} {source.name} verified at {where}")
    if registry.path.exists():
        remote.copy(str(registry.path), remote.target)


def _settle(remote: Remote, put: Callable[..., None], source: Path, target: str, *flags: str) -> None:
    """Copy, then verify. A remote without hashes may have kept an old file of the same size: that is copied anew."""
    put(str(source), target, *flags)
    try:
        remote.verify(str(source), target, *flags)
    except BackupError:
        put(str(source), target, "--ignore-times", *flags)
        remote.verify(str(source), target, *flags)


def _refuse_other_bytes(remote: Remote, record: Record, target: str) -> None:
    with tempfile.TemporaryDirectory() as between:
        if not remote.exists(f"{target}/{RECORD}"):
            return
        remote.copy(f"{target}/{RECORD}", between)
        there = _record(Path(between) / RECORD)
    if there.bytes != record.bytes:
        fact = f"{target} holds another model of the name {record.name!r}"
        raise BackupError(fact, hint="choose another target=")


def _record(path: Path) -> Record:
    try:
        ((name, node),) = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap().items()
        found = read("models", name, node)
    except (OSError, ValueError) as error:
        raise BackupError(f"{path.name} of the backup cannot be read: {error}") from error
    assert isinstance(found, Record)
    return found


def _sources(record: Record, folder: Path) -> list[tuple[str, Path]]:
    """The run and the data files of a model, as far as they are still there."""
    run = Path("outputs") / record.run
    found = [("runs", run)] if record.run and (run / "run.json").is_file() else []
    try:
        paths = json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"]["dataset"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return found
    listed = [paths] if isinstance(paths, str) else list(paths)
    return found + [("datasets", Path(path)) for path in listed if Path(path).is_file()]


def _size(folder: Path) -> str:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{total / 1e6:.1f} MB"


def restore(registry: Registry, remote: Remote, name: str, say: Say) -> Record:
    """Bring a model back: fetch, verify every byte, and put it into the registry as a candidate.

    Raises:
        BackupError: It is not there, or not whole.
        RegistryError: The name belongs to other bytes here.
    """
    source = remote.at("models", name)
    if not remote.exists(f"{source}/{RECORD}"):
        raise BackupError(f"there is no model {name!r} at {remote.target}", hint=f"rclone lsf {remote.at('models')}")
    staging = registry.book.folder / f".restoring-{name}"  # kept when killed: the next try goes on from it
    staging.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as between:
        remote.copy(f"{source}/{RECORD}", between)
        record = _record(Path(between) / RECORD)
    remote.copy(source, str(staging), "--exclude", RECORD)
    try:
        durable.verify(staging)
    except durable.Damaged as damage:
        fact = f"the backup of {name!r} at {source} is not whole: {damage}"
        raise BackupError(fact, hint="back it up again") from damage
    here = registry.entries().get(name)
    missing = [parent for parent in record.parents if parent not in registry.entries()]
    if missing:
        raise BackupError(f"{name!r} was made from {', '.join(missing)}", hint=f"restore {missing[0]} first")

    def write(folder: Path) -> None:
        for path in staging.iterdir():
            if path.is_file() and path.name != durable.MANIFEST:
                shutil.copy2(path, folder / path.name)

    added = registry.add(replace(record, status="candidate"), write)
    shutil.rmtree(staging, ignore_errors=True)
    say(f"{name}: {'renewed' if here else 'restored'}, {added.status}, {_size(registry.verified(added))} verified")  # type: ignore[arg-type]
    assert isinstance(added, Record)
    return added
