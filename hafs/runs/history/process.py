"""The process that trains a run: whether it is alive, and requests to pause or stop."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil

from hafs.core.errors import RunError

Presence = Literal["alive", "gone", "unknown"]
_BIRTH_SECONDS = 5.0  # setting the clock changes a process's start time a little; a process id is not reused that fast


def presence(started: Mapping[str, Any] | None, folder: Path) -> Presence:
    """Whether the process that a run's `started` event names is training in this folder.

    Args:
        started: The newest such event.
        folder: The run's folder.

    Returns:
        unknown: another machine's process, or the folder is a copy of the run's.
    """
    if not started or started.get("host") != platform.node() or started.get("folder") != str(folder.resolve()):
        return "unknown"
    return "alive" if _process(started) else "gone"


def _process(started: Mapping[str, Any]) -> psutil.Process | None:
    with suppress(psutil.Error, KeyError, TypeError, ValueError):
        process = psutil.Process(started["pid"])
        same = abs(process.create_time() - started["process_began"]) < _BIRTH_SECONDS
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _at_work(started: Mapping[str, Any] | None, folder: Path, wish: str) -> psutil.Process:
    found = presence(started, folder)
    process = _process(started) if started and found == "alive" else None
    if process is None:
        why = "no process works on it" if found == "gone" else "its process is not on this machine"
        raise RunError(f"{folder.name} cannot be {wish}: {why}")
    return process


def stop(started: Mapping[str, Any] | None, folder: Path) -> None:
    """Ask the run to save and stop; the same command continues it.

    Raises:
        RunError: The recorded process no longer exists, or may not be signalled.
    """
    process = _at_work(started, folder, "stopped")
    try:
        process.terminate()
    except psutil.Error as error:
        raise RunError(f"{folder.name} cannot be stopped: {error}") from error


def pause(started: Mapping[str, Any] | None, folder: Path) -> None:
    """Ask the run to save, free the GPU and wait.

    Raises:
        RunError: No process works on it, or the folder cannot be written.
    """
    _at_work(started, folder, "paused")
    try:
        (folder / "pause").touch()
    except OSError as error:
        raise RunError(f"{folder.name} cannot be paused: {error.strerror}") from error


def resume(folder: Path) -> None:
    """Resume a paused run.

    Raises:
        RunError: The folder cannot be written.
    """
    try:
        (folder / "pause").unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{folder.name} cannot be resumed: {error.strerror}") from error
