"""A run is a folder that can be continued: its recorded config, events, checkpoints and finished stages."""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import psutil
from filelock import FileLock, Timeout

from hafs import durable
from hafs.errors import FAILURE, OUR_BUG, RunError

COSMETIC = {
    "resume",
    "hafs",
    "logger",
    "name",
    "show",
    "micro_batch_tokens",
    "callbacks.checkpoint",
    "callbacks.generations",
    "callbacks.journal",
    "callbacks.micro_batch",
    "callbacks.pause",
    "callbacks.progress",
    "callbacks.throughput",
}
"""Keys of the config that change nothing about the result, so a run may be continued with others."""


class Checkpoints:
    """The checkpoints of a run, newest last; a damaged one is set aside, never used and never deleted."""

    def __init__(self, root: Path, *, keep: int = 3) -> None:
        self.root, self.keep = root, keep
        self.proven = 0
        """Steps after which a checkpoint has proved healthy; the newest such one is kept, however old."""

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write `state` (tensors and plain builtins) as the checkpoint of a step; then drop the oldest above `keep`.

        Raises:
            OSError: The disk refuses; earlier checkpoints are intact.
        """
        import torch

        target = durable.commit(
            self.root / f"step-{step:08d}", lambda draft: torch.save(dict(state), draft / "state.pt")
        )
        spared = [folder for folder in self.all() if _step(folder) <= self.proven][-1:]
        for old in self.all()[: -self.keep]:
            if old not in spared:
                durable.remove(old)
        return target

    def all(self) -> list[Path]:
        """Folders of checkpoints, oldest first."""
        return sorted(self.root.glob("step-????????"))

    def steps(self) -> list[int]:
        """Optimizer steps of each checkpoint, fewest first."""
        return [_step(folder) for folder in self.all()]

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest undamaged checkpoint and its state; None if there never was one.

        Raises:
            RunError: There are checkpoints and every one is damaged.
        """
        import torch

        broken = []
        for folder in reversed(self.all()):
            try:
                durable.verify(folder)
            except durable.Damaged as damage:
                aside = folder.with_name(f"damaged-{folder.name}-{int(time.time())}")
                folder.replace(aside)
                broken.append(f"{folder.name} ({damage})")
                continue
            return folder, torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        if broken:
            raise RunError(
                f"every checkpoint in {self.root} is damaged: {'; '.join(broken)}",
                hint="they are kept as damaged-*; remove the run's folder, or choose another name=, to start anew",
            )
        return None

    def clear(self, *, after: int = -1) -> None:
        """Drop checkpoints of more than `after` steps; all of them when their stage is finished."""
        for folder in self.all():
            if _step(folder) > after:
                durable.remove(folder)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


class Run:
    """An opened run folder, locked for this process."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self._lock = FileLock(folder / ".lock")
        self._events = None
        self._began = False

    def __enter__(self) -> "Run":
        self.lock()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._began and error is not None:
            with suppress(OSError):  # a full disk must not hide the error that ends the run
                self.event("ended", error=_first_line(error), exit_code=getattr(error, "exit_code", OUR_BUG))
        self.close()

    def begin(self, **facts: Any) -> None:
        """Note which process works here from now on; an error that ends it will be noted too.

        The process is named by host, number and birth, and the run by its folder, so that a reader can tell a live run
        from a crashed or a copied one.
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
        """Keep other processes out; the lock goes with the process, however it ends.

        Raises:
            RunError: Another process is at work here, or the folder cannot be written.
        """
        if not self.writes:
            return
        try:
            self.checkpoints.root.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"another process is at work in {self.folder}", hint="choose another name=, or wait"
            ) from error
        except OSError as error:
            raise RunError(f"{self.folder} cannot be written: {error.strerror}") from error
        for root in (self.folder, self.checkpoints.root, self.folder / "stages"):
            durable.sweep_leftovers(root)

    def close(self) -> None:
        """Flush and let go."""
        if self._events:
            self._events.close()
            self._events = None
        self._lock.release()

    def event(self, kind: str, **facts: Any) -> None:
        """Append one line to `events.jsonl`."""
        if not self.writes:
            return
        if self._events is None:
            self._events = (self.folder / "events.jsonl").open("ab")
            if self._events.tell() and not _ends_with_newline(self.folder / "events.jsonl"):
                self._events.write(b"\n")  # a kill tore the last line
        line = {"time": round(time.time(), 3), "event": kind} | facts
        self._events.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
        self._events.flush()

    def events(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Lines of `events.jsonl`; a torn line is passed over."""
        path = self.folder / "events.jsonl"
        if not path.exists():
            return
        with path.open("rb") as lines:
            for line in lines:
                try:
                    event = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if kind is None or event.get("event") == kind:
                    yield event

    def compare(self, config: Any) -> None:
        """Hold a config against the recorded one, if there is one.

        Raises:
            RunError: They differ in something that changes the result; every such key is named.
        """
        before = self._recorded()
        changed = differences(before["config"], config) if before else []
        if changed:
            raise RunError(
                f"{self.folder} was made with another config: {'; '.join(changed)}",
                hint="choose another name= for the new config, or type the old values to continue",
            )

    def record(self, config: Any, *, data: str) -> None:
        """Note what the run is made of.

        Args:
            config: The resolved config.
            data: The fingerprint of the prepared data.

        Raises:
            RunError: The run was made with other data.
        """
        before = self._recorded()
        if before and before["data"] != data:
            raise RunError(
                f"the data of {self.folder} has changed: it was {before['data']}, now it is {data}",
                hint="choose another name= to train on the new data",
            )
        if self.writes:
            durable.write_text(self.folder / "run.json", json.dumps({"config": config, "data": data}, indent=1))

    def _recorded(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / "run.json").read_text())
        except FileNotFoundError:
            return None

    def stage_folder(self, index: int, name: str) -> Path:
        """Where a finished stage is kept."""
        return self.folder / "stages" / f"{index:02d}-{name}"

    def finished(self, index: int, name: str) -> dict[str, Any] | None:
        """What a finished stage noted of itself; None if it is not finished or not whole."""
        folder = self.stage_folder(index, name)
        try:
            durable.verify(folder)
            return json.loads((folder / "stage.json").read_text())
        except (durable.Damaged, OSError):
            return None


def run_folder(name: str, resume: str, *, root: Path = Path("outputs")) -> Path:
    """Where a run lives.

    Args:
        name: The run's name.
        resume: `auto`: its own folder, continued if it is there; `never`: a new folder beside it; or a run's folder.
        root: Where runs live.

    Raises:
        RunError: `resume` is a path that holds no run.
    """
    if resume == "auto":
        return root / name
    if resume == "never":
        return next(path for n in count(1) if not (path := root / (name if n == 1 else f"{name}-{n}")).exists())
    if not (Path(resume) / "run.json").is_file():
        raise RunError(f"resume={resume!r} is no run's folder", hint="auto, never, or a folder under outputs/")
    return Path(resume)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and leaf values of nested mappings."""
    if isinstance(node, Mapping) and node:
        return {k: v for key, child in node.items() for k, v in flat(child, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: node}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys that change the result and differ, as `key: old -> new`.

    Stages added after the recorded ones are no difference: the recorded ones are done the same way.
    """
    stages_before, stages_now = list(before.get("stages", {})), list(now.get("stages", {}))
    if stages_now[: len(stages_before)] == stages_before:
        now = dict(now) | {"stages": {name: now["stages"][name] for name in stages_before}}
    else:
        return [f"stage: {','.join(stages_before)} -> {','.join(stages_now)}"]
    old, new = flat(before), flat(now)
    return [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and not _cosmetic(key)
    ]


def _cosmetic(key: str) -> bool:
    parts = key.split(".")
    return any(".".join(parts[:n]) in COSMETIC for n in range(1, len(parts) + 1))


def ranked(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The summaries of runs, the lowest held-out loss first, failed ones last."""
    found = []
    for folder in folders:
        told = next((path for name in (FAILURE, "summary.json") if (path := folder / name).exists()), None)
        if told:
            found.append(json.loads(told.read_text()) | {"folder": str(folder)})
    return sorted(found, key=lambda s: (s.get("status") != "done", s.get("loss") or float("inf")))
