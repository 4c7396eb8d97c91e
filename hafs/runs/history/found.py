"""Run folders: the newest, one by name, or all jobs of a sweep."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hafs.core.errors import RunError

_MARKS = ("events.jsonl", "run.json", "failure.json")  # a folder with one of these is a run's


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return any((folder / mark).is_file() for mark in _MARKS)


def everywhere(roots: Iterable[Path]) -> list[Path]:
    """All runs and jobs of sweeps below some folders, the newest first."""
    found = {}
    for root in roots:
        if root.is_dir():
            found |= {folder: _age(folder) for folder in _folders(root) if is_run(folder)}
    return sorted(found, key=lambda folder: found[folder], reverse=True)


def _folders(root: Path) -> Iterable[Path]:
    for folder in root.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            yield folder
            if not is_run(folder):
                yield from (job for job in folder.iterdir() if job.is_dir())


def _age(folder: Path) -> float:
    times = [(folder / mark).stat().st_mtime for mark in _MARKS if (folder / mark).exists()]
    return max(times[:1] or [0.0])


def chosen(names: Sequence[str], roots: Sequence[Path]) -> list[Path]:
    """The folders of runs.

    Args:
        names: Of runs or sweeps, or their paths; empty: the newest run.
        roots: Where runs and sweeps live.

    Raises:
        RunError: There is no such run, or none at all.
    """
    if not names:
        return everywhere(roots)[:1] or _none(roots)
    return list(dict.fromkeys(folder for name in names for folder in _named(name, roots)))


def _named(name: str, roots: Sequence[Path]) -> list[Path]:
    for folder in (*(root / name for root in roots), Path(name)):
        if is_run(folder):
            return [folder]
        jobs = sorted(filter(is_run, folder.iterdir()), key=_natural) if folder.is_dir() else []
        if jobs and folder not in roots:
            return jobs
    known = [folder.name for folder in everywhere(roots)]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    raise RunError(
        f"there is no run {name!r} in {_listed(roots)}",
        hint=f"did you mean {near[0]!r}?" if near else "hafs runs lists them",
    )


def _none(roots: Sequence[Path]) -> list[Path]:
    raise RunError(f"there is no run in {_listed(roots)} yet", hint="hafs train creates one")


def _listed(roots: Sequence[Path]) -> str:
    return " or ".join(f"{root}/" for root in roots)


def _natural(folder: Path) -> list[str | int]:
    """Numbers in a name by their size: `adapter.r=8` before `adapter.r=16`."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", folder.name))]
