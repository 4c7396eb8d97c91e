"""An rclone target: copies to it, verifies them by hash, and deletes nothing unless asked."""

import shutil
import subprocess
from pathlib import Path

from hafs.core.errors import HafsError

FLAGS = ("--checksum", "--retries", "3", "--low-level-retries", "5", "--stats", "0")
_NOT_THERE = (3, 4)
"""rclone's exit codes for a folder and for a file that is not found."""


class BackupError(HafsError):
    """A copy failed, or differs from its source."""


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
            fact = f"target={target} is not a valid target, expected remote:path or a folder"
            raise BackupError(fact, hint="target=drive:hafs; rclone listremotes lists the remotes")
        self.target = target.rstrip("/") if len(target) > 1 else target

    def at(self, *parts: str) -> str:
        """A path below the target."""
        lead = self.target if self.target.endswith((":", "/")) else f"{self.target}/"
        return lead + "/".join(parts)

    def copy(self, source: str, target: str, *flags: str) -> None:
        """Copy files that are new or different; nothing is deleted.

        Raises:
            BackupError: rclone failed; running it again resumes the copy.
        """
        self._run("copy", source, target, *FLAGS, *flags)

    def mirror(self, source: str, target: str, *flags: str) -> None:
        """Copy, and delete files at the target that do not exist at the source."""
        self._run("sync", source, target, *FLAGS, *flags)

    def verify(self, source: str, target: str, *flags: str) -> None:
        """Compare every file at the source with the target's by hash, or byte by byte if the remote has no hashes.

        Raises:
            BackupError: One is missing or different.
        """
        self._run("check", source, target, "--one-way", *(("--download",) if not self._hashes(target) else ()), *flags)

    def settle(self, source: Path, target: str, *flags: str, delete: bool = False) -> None:
        """Copy, then verify.

        A remote without hashes may keep an old file of the same size; such a file is copied again.

        Args:
            source: A folder here.
            target: A folder there.
            flags: rclone's filters.
            delete: Delete files at the target that do not exist at the source.

        Raises:
            BackupError: rclone failed, or the target still differs from the source.
        """
        put = self.mirror if delete else self.copy
        put(str(source), target, *flags)
        try:
            self.verify(str(source), target, *flags)
        except BackupError:
            put(str(source), target, "--ignore-times", *flags)
            self.verify(str(source), target, *flags)

    def exists(self, path: str) -> bool:
        """Whether a file exists.

        Raises:
            BackupError: The remote cannot be asked.
        """
        return bool(self._listed(path))

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder; empty if it does not exist.

        Raises:
            BackupError: The remote cannot be asked.
        """
        return [line.rstrip("/") for line in self._listed(path, "--dirs-only")]

    def _listed(self, path: str, *flags: str) -> list[str]:
        done = self._try("lsf", path, *flags)
        if done.returncode in _NOT_THERE:
            return []
        if done.returncode:
            fact = f"{self.target} cannot be read: {_why(done.stderr)}"
            raise BackupError(fact, hint="check the remote with rclone listremotes and rclone lsf")
        return done.stdout.splitlines()

    def _hashes(self, target: str) -> bool:
        done = self._try("backend", "features", target)
        return done.returncode == 0 and '"Hashes": []' not in done.stdout and '"Hashes": null' not in done.stdout

    def _run(self, *arguments: str) -> None:
        done = self._try(*arguments)
        if done.returncode:
            raise BackupError(
                f"rclone {arguments[0]} {arguments[1]} -> {arguments[2]} failed: {_why(done.stderr)}",
                hint="run the same command again to resume; rclone config sets up remotes",
            )

    def _try(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["rclone", *arguments], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )


def _why(said: str) -> str:
    """The first complaint in what rclone says."""
    lines = [line for line in said.splitlines() if line.strip()]
    why = next((line for line in lines if "ERROR" in line or "Failed" in line or "CRITICAL" in line), "")
    return (why or (lines or ["it says nothing"])[-1]).split(": ", 1)[-1][:300]
