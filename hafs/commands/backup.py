"""Back up registered models, their runs and datasets with rclone, verified by hash.

    hafs backup target=remote:hafs                            everything in the registry
    hafs backup target=/mnt/disk/hafs hyrule-asm-v1           one model

Copies only new files, resumes an interrupted copy, and deletes nothing unless delete=true. Exit code 2: rclone is
missing or a copy failed; run the same command again to resume.
"""

from typing import TypedDict

from omegaconf import DictConfig

from hafs.config import build, command


class Settings(TypedDict):
    """The command's own keys in `conf/backup.yaml`."""

    target: str | None
    names: str | None
    delete: bool


def backup(config: DictConfig) -> None:
    """Copy and verify.

    Raises:
        HafsError: rclone is missing, a copy failed, or the registry has no such model.
    """
    from hafs.registry.backup import Remote
    from hafs.registry.backup import backup as copy

    remote = Remote(config.target or "")
    copy(
        build(config.registry), remote, names=(config.names or "").split(), delete=config.delete,
        say=lambda line: print(line, flush=True),
    )  # fmt: skip


main = command("backup", backup, description=__doc__ or "", settings=Settings, positional="names")

if __name__ == "__main__":
    main()
