"""The checkpoints of a run. The newest valid one is used; a damaged one is renamed, never used and never deleted."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from hafs.core import durable
from hafs.core.errors import RunError
from hafs.core.failpoints import failpoint

STATE = "state.pt"
_STEP, _DAMAGED, _GIVEN_UP = "step-", "damaged-", "given-up-"


def _silent(kind: str, **facts: Any) -> None:
    pass


class Checkpoints:
    """Folders `step-NNNNNNNN`, named by the run's completed optimizer steps.

    Args:
        root: The folder of all checkpoints.
        keep: Number of newest checkpoints to keep; None: all, until the callback `checkpoint` sets a number.
        tell: Called with an event's kind and facts, for `events.jsonl`.
        writes: False: another process of this run writes; this one only reads.
    """

    def __init__(
        self, root: Path, *, keep: int | None = None, tell: Callable[..., None] = _silent, writes: bool = True
    ) -> None:
        self.root, self.keep, self.tell, self.writes = root, keep, tell, writes
        self.proven = 0
        """Last step known to be good. The newest checkpoint up to it is always kept."""
        self.bests: list[int] = []
        """Steps of epochs that were once the best of their stage. Those that a kept checkpoint names are kept."""

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write `state` (tensors and plain builtins) as a step's checkpoint, then remove the oldest beyond `keep`.

        Raises:
            OSError: The checkpoint cannot be written; earlier ones are intact.
        """
        target = durable.commit(self.root / f"{_STEP}{step:08d}", lambda draft: _write(draft / STATE, state))
        failpoint("save.done", target.name)
        with suppress(OSError):  # the new checkpoint is safe; an extra old one only costs space
            self._rotate()
        return target

    def _rotate(self) -> None:
        if self.keep is None:
            return
        there = self.steps()
        kept = there[-self.keep :] + [step for step in there if step <= self.proven][-1:]
        kept += [step for step in self.bests if step >= min(kept)]
        kept += [step for step in self.bests if step < min(kept)][-1:]  # the best epoch of the oldest checkpoint
        for old in self.all():
            if _step(old) not in kept:
                durable.remove(old)

    def all(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        return sorted(self.root.glob(_STEP + "[0-9]" * 8))

    def steps(self) -> list[int]:
        """The step of each checkpoint, in ascending order."""
        return [_step(folder) for folder in self.all()]

    def newest(self, *, after: int = -1) -> tuple[Path, dict[str, Any]] | None:
        """The newest valid checkpoint and its state; None if there are no checkpoints.

        Args:
            after: Step of the run at which the stage began. Checkpoints up to it belong to finished stages.

        Raises:
            RunError: The stage has checkpoints and all of them are damaged.
        """
        for folder in reversed([folder for folder in self.all() if _step(folder) > after]):
            try:
                return folder, _read(folder)
            except durable.Damaged as damage:
                self._set_aside(folder, str(damage))
        lost = [folder for folder in self.root.glob(f"{_DAMAGED}*") if _step(folder) > after]
        if lost:
            raise RunError(
                f"every checkpoint of this stage in {self.root} is damaged",
                hint=f"restore one from a backup, or remove {self.root}/{_DAMAGED}* to train the stage from its start",
            )
        return None

    def state_of(self, step: int) -> dict[str, Any]:
        """The state in a step's checkpoint.

        Raises:
            Damaged: The checkpoint is missing, or is damaged and was renamed.
        """
        folder = self.root / f"{_STEP}{step:08d}"
        try:
            return _read(folder)
        except durable.Damaged as damage:
            if folder.exists():
                self._set_aside(folder, str(damage))
            raise

    def _set_aside(self, folder: Path, why: str) -> None:
        if not self.writes:
            return
        aside = _free(folder.with_name(f"{_DAMAGED}{folder.name}"))
        try:
            folder.replace(aside)
        except OSError as error:
            raise RunError(f"{folder} is damaged ({why}) and cannot be set aside: {error.strerror}") from error
        self.tell("checkpoint_damaged", checkpoint=folder.name, why=why, kept_as=aside.name)

    def clear(self, *, after: int = -1) -> None:
        """Remove checkpoints after step `after`, and rename damaged ones so that they are ignored."""
        for folder in self.all():
            if _step(folder) > after:
                durable.remove(folder)
                failpoint("clear.removed", folder.name)
        for folder in self.root.glob(f"{_DAMAGED}*"):
            if _step(folder) > after:
                folder.replace(_free(folder.with_name(_GIVEN_UP + folder.name)))


def _step(folder: Path) -> int:
    """The step in `step-00000012` or `damaged-step-00000012-2`."""
    digits = folder.name.split(_STEP)[-1][:8]
    return int(digits) if digits.isdecimal() else -1


def _free(path: Path) -> Path:
    """The path itself, or with the first free number appended."""
    return next(p for n in count(1) if not (p := path if n == 1 else path.with_name(f"{path.name}-{n}")).exists())


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a file that loads with `weights_only=True`.

    Raises:
        OSError: The file cannot be written (torch raises RuntimeError).
    """
    import torch

    try:
        torch.save(dict(state), path)
    except RuntimeError as error:
        raise OSError(f"{path.name} could not be written: {str(error).splitlines()[0]}") from error


def _read(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint; its bytes are compared with the manifest before unpickling.

    Raises:
        Damaged: The bytes differ, or hold anything other than tensors and plain builtins.
    """
    import torch

    durable.verify(folder)
    try:
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        if state["cursor"]["total"] != _step(folder):
            raise durable.Damaged(f"it belongs to step {state['cursor']['total']}")
    except (durable.Damaged, MemoryError):
        raise
    except Exception as error:  # a hostile or foreign file may raise anything
        raise durable.Damaged(f"{STATE} is not a hafs checkpoint: {type(error).__name__}") from error
    return state
