"""A run is a folder that can be resumed: its recorded config, events, checkpoints and finished stages."""

import json
import platform
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from hafs.core import durable, records
from hafs.core.errors import FAILURE, OUR_BUG, USER_CAN_FIX, RunError
from hafs.core.failpoints import failpoint
from hafs.runs.checkpoints import Checkpoints
from hafs.runs.config_changes import DIVIDING, differences, flat
from hafs.runs.events import Events

RECORD = "run.json"
"""The record of a run's config and hashes."""


class Run:
    """An opened run folder, locked for this process."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        self.checkpoints = Checkpoints(folder / "checkpoints", tell=self.event, writes=writes)
        self._lock = FileLock(folder / ".lock")
        self._events = Events(folder / "events.jsonl")
        self._began = False

    def __enter__(self) -> "Run":
        self.lock()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._began and error is not None:
            self.event("ended", error=_first_line(error), exit_code=getattr(error, "exit_code", OUR_BUG))
        self.close()

    def begin(self, **facts: Any) -> None:
        """Record the process that trains this run; an error that ends it is recorded too.

        The process is identified by host, process id and start time, and the run by its folder, so that a reader can
        tell a live run from a crashed or a copied one.
        """
        me = psutil.Process()
        who = {"host": platform.node(), "pid": me.pid, "process_began": me.create_time()}
        self.event("started", **who, folder=str(self.folder.resolve()), **facts)
        self._began = True

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

    def lock(self) -> None:
        """Lock the folder against other processes. The lock ends with the process.

        Raises:
            RunError: Another process holds the lock, or the folder cannot be written.
        """
        if not self.writes:
            return
        try:
            durable.make_folders(self.checkpoints.root)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"another process is at work in {self.folder}", hint="choose another name=, or wait"
            ) from error
        except OSError as error:
            hint = "check that its disk is mounted for writing and that the folder is yours"
            raise RunError(f"{self.folder} cannot be written: {error.strerror}", hint=hint) from error
        for root in (self.folder, self.checkpoints.root, self.folder / "stages"):
            durable.sweep_leftovers(root)

    def close(self) -> None:
        """Close the event file and release the lock."""
        self._events.close()
        self._lock.release()

    def event(self, kind: str, **facts: Any) -> None:
        """Append one line to `events.jsonl`."""
        if self.writes:
            self._events.append(kind, **facts)

    def events(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Lines of `events.jsonl`; truncated lines are skipped."""
        return self._events.read(kind)

    def compare(self, config: Any) -> None:
        """Compare a config with the recorded one, if there is one.

        Raises:
            RunError: They differ in something that changes the result; every such key is named.
        """
        before = self._recorded()
        changed = differences(before["config"], config) if before else []
        if changed:
            fitted = any("'auto' ->" in line or "FittedStage' ->" in line for line in changed)
            also = " (its epochs and rates were chosen by size: experiment=own_data)" if fitted else ""
            raise RunError(
                f"{self.folder} was made with another config: {'; '.join(changed)}",
                hint=f"choose another name= for the new config, or type the old values to continue{also}",
            )

    def divided_before(self, config: Any) -> list[str]:
        """Changes in the number of devices, as `key: old -> new`."""
        before = self._recorded()
        old, new = (flat(each) for each in (before["config"] if before else config, config))
        changed = [key for key in DIVIDING if key in old and old[key] != new.get(key)]
        return [f"{key}: {old[key]} -> {new.get(key)}" for key in changed]

    def compare_data(self, data: str, *, also: Collection[str] = (), accept_changes: bool = False) -> None:
        """Compare the data with the recorded one, if there is a record.

        Args:
            data: The fingerprint of the prepared data.
            also: Other fingerprints of the same data, by earlier releases.
            accept_changes: Continue although the data changed since the run started.

        Raises:
            RunError: The data changed since the run started.
        """
        before = self._recorded()
        if before is None or before["data"] in (data, *also):
            return
        if not accept_changes:
            raise RunError(
                f"the data of {self.folder} has changed: it was {before['data']}, now it is {data}",
                hint="choose another name= to train on the new data, or on_data_change=continue to mix both",
            )
        self.event("data_changed", before=before["data"], now=data)

    def chosen(self) -> dict[str, Any] | None:
        """What was chosen for the stages when the run began; None in a new run, or one of an earlier release."""
        return (self._recorded() or {}).get("chosen")

    def record(self, config: Any, *, data: str, base: str | None = None, chosen: Any = None) -> None:
        """Record the run's config and hashes.

        Args:
            config: The resolved config.
            data: The fingerprint of the prepared data.
            base: SHA-256 over the base's weights; None where it is unknown.
            chosen: Epochs and rates that the size of the data chose, by stage.

        Raises:
            RunError: The base model changed since the run started.
        """
        if before := self._recorded():
            same_base(before.get("base"), base, self.folder)
        if self.writes:
            records.write_record(self.folder / RECORD, {"config": config, "data": data, "base": base, "chosen": chosen})
            failpoint("run.recorded")

    def _recorded(self) -> dict[str, Any] | None:
        """The record; None in a folder without any training yet.

        Raises:
            RunError: The record is damaged or missing, so the config cannot be compared.
        """
        path = self.folder / RECORD
        try:
            noted = records.read_record(path)
        except durable.Damaged as damage:
            raise _no_record(f"{damage}, so the config cannot be compared") from damage
        if noted is None and (self.checkpoints.all() or any(self.folder.glob("stages/*/stage.json"))):
            raise _no_record(f"{path} is missing, so the config cannot be compared")
        return noted

    def stage_folder(self, index: int, name: str) -> Path:
        """Where a finished stage is kept."""
        return self.folder / "stages" / f"{index:02d}-{name}"

    def finished(self, index: int, name: str) -> dict[str, Any] | None:
        """The result of a finished stage; None if it is not finished.

        Raises:
            RunError: The stage is finished and its folder is damaged.
        """
        folder = self.stage_folder(index, name)
        if not folder.exists():
            return None
        try:
            durable.verify(folder)
            return json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        except (durable.Damaged, OSError, ValueError) as damage:
            self.event("stage_damaged", stage=name, why=str(damage))
            raise RunError(
                f"the finished stage {folder} is damaged: {damage}",
                hint="restore a copy of it, or remove it to train that stage again",
            ) from damage


def same_base(before: str | None, base: str | None, folder: Path) -> None:
    """Compare the local base model with the one that the run was trained on; either may be unknown.

    Args:
        before: SHA-256 over the weights of the base that the run recorded.
        base: The same of the base that is here.
        folder: The run's.

    Raises:
        RunError: They differ.
    """
    if before and base and before != base:
        raise RunError(
            f"the base of {folder} has changed: the SHA-256 of its weights was {before[:12]}, now it is {base[:12]}",
            hint="pin the base's revision (model.weights.revision=), or train again under another name=",
        )


def run_folder(name: str, resume: str, *, root: Path = Path("outputs")) -> Path:
    """Where a run lives.

    Args:
        name: The run's name.
        resume: `auto`: its own folder, continued if it is there; `never`: a new folder beside it; or a run's folder.
        root: Where runs live.

    Raises:
        RunError: `resume` is a path without a run.
    """
    if resume == "auto":
        return root / name
    if resume == "never":
        return next(path for n in count(1) if not (path := root / (name if n == 1 else f"{name}-{n}")).exists())
    if not (Path(resume) / RECORD).is_file():
        raise RunError(f"resume={resume!r} is not a run folder", hint="auto, never, or a folder under outputs/")
    return Path(resume)


def _no_record(fact: str) -> RunError:
    return RunError(fact, hint="restore a copy of it; the same command with another name= writes the same file again")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def ranked(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The summaries of runs, the lowest held-out loss first, failed ones last."""
    found = []
    for folder in folders:
        told = next((path for name in (FAILURE, "summary.json") if (path := folder / name).exists()), None)
        if told:
            found.append(_summary(told) | {"folder": str(folder)})
    return sorted(found, key=lambda s: (s.get("status") != "done", s.get("loss") or float("inf")))


def _summary(path: Path) -> dict[str, Any]:
    try:
        return records.read_record(path, unsealed="") or {}
    except records.Damaged as damage:
        return {"status": "failed", "error": str(damage), "exit_code": USER_CAN_FIX}
