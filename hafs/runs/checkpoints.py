"""The checkpoints of a run: the newest whole one is found, a damaged one is set aside, never used, never deleted."""

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
    """Folders `step-NNNNNNNN`, named by the optimizer steps of the run that are done.

    Args:
        root: Their folder.
        keep: How many of the newest stay.
        tell: Is told the kind and the facts of what happens to them, for `events.jsonl`.
        writes: False: another process of the same run keeps order here; this one only reads.
    """

    def __init__(self, root: Path, *, keep: int = 3, tell: Callable[..., None] = _silent, writes: bool = True) -> None:
        self.root, self.keep, self.tell, self.writes = root, keep, tell, writes
        self.proven = 0
        """Steps after which a checkpoint has proved healthy; the newest such one is kept, however old."""
        self.bests: list[int] = []
        """Steps of epochs that were the best of their stage for a while; those that a kept checkpoint names stay."""

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write `state` (tensors and plain builtins) as the checkpoint of a step; then drop the oldest above `keep`.

        Raises:
            OSError: The disk refuses; earlier checkpoints are intact.
        """
        target = durable.commit(self.root / f"{_STEP}{step:08d}", lambda draft: _write(draft / STATE, state))
        failpoint("save.done", target.name)
        with suppress(OSError):  # one too many costs space; the new one is safe
            self._rotate()
        return target

    def _rotate(self) -> None:
        there = self.steps()
        kept = there[-self.keep :] + [step for step in there if step <= self.proven][-1:]
        kept += [step for step in self.bests if step >= min(kept)]
        kept += [step for step in self.bests if step < min(kept)][-1:]  # the best that the oldest of them names
        for old in self.all():
            if _step(old) not in kept:
                durable.remove(old)

    def all(self) -> list[Path]:
        """Folders of checkpoints, oldest first."""
        return sorted(self.root.glob(_STEP + "[0-9]" * 8))

    def steps(self) -> list[int]:
        """Optimizer steps of each checkpoint, fewest first."""
        return [_step(folder) for folder in self.all()]

    def newest(self, *, after: int = -1) -> tuple[Path, dict[str, Any]] | None:
        """The newest undamaged checkpoint and its state; None if there never was one.

        Args:
            after: Steps of the run at which the stage began; checkpoints up to there are of stages that are finished.

        Raises:
            RunError: There are checkpoints of the stage and every one is damaged.
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
                hint=f"put a copy of one back, or remove {self.root}/{_DAMAGED}* to train the stage from its start",
            )
        return None

    def state_of(self, step: int) -> dict[str, Any]:
        """The state that the checkpoint of a step holds.

        Raises:
            Damaged: It is damaged, and set aside; or it is gone.
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
        """Drop checkpoints of more than `after` steps, and forget damaged ones; all when their stage is finished."""
        for folder in self.all():
            if _step(folder) > after:
                durable.remove(folder)
                failpoint("clear.removed", folder.name)
        for folder in self.root.glob(f"{_DAMAGED}*"):
            if _step(folder) > after:
                folder.replace(_free(folder.with_name(_GIVEN_UP + folder.name)))


def _step(folder: Path) -> int:
    """Of `step-00000012`, and of `damaged-step-00000012-2`."""
    digits = folder.name.split(_STEP)[-1][:8]
    return int(digits) if digits.isdecimal() else -1


def _free(path: Path) -> Path:
    """The path, or the first one with a number behind it that is not taken."""
    return next(p for n in count(1) if not (p := path if n == 1 else path.with_name(f"{path.name}-{n}")).exists())


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Save as a file that `weights_only=True` loads.

    Raises:
        OSError: The disk is full or refuses; torch says so with another error.
    """
    import torch

    try:
        torch.save(dict(state), path)
    except RuntimeError as error:
        raise OSError(f"{path.name} could not be written: {str(error).splitlines()[0]}") from error


def _read(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint; its bytes are held against the manifest before any of them is unpickled.

    Raises:
        Damaged: They differ, or hold something else than tensors and plain builtins.
    """
    import torch

    durable.verify(folder)
    try:
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        if state["cursor"]["total"] != _step(folder):
            raise durable.Damaged(f"it is of step {state['cursor']['total']}")
    except (durable.Damaged, MemoryError):
        raise
    except Exception as error:  # whatever a hostile or foreign file makes the reader say
        raise durable.Damaged(f"{STATE} is no checkpoint of hafs: {type(error).__name__}") from error
    return state
