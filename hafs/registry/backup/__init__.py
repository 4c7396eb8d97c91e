"""Backups with rclone: registered models, their runs and datasets, to any remote that rclone knows.

    TARGET/models/NAME/...        a registered model's folder, with MANIFEST.json, copied last
    TARGET/models/NAME/record.toml    its record in the registry
    TARGET/mixtures/NAME/record.toml  a mixture's record; its experts are backed up with it
    TARGET/runs/NAME/...          the run it came from, without checkpoints
    TARGET/datasets/NAME/...      the source files of its data
    TARGET/registry.toml          the whole registry

Copies are rclone's: incremental (by hash), resumed by running again, checked by hash afterwards, and never deleting.
"""

from hafs.registry.backup.copying import backup
from hafs.registry.backup.remote import BackupError, Remote
from hafs.registry.backup.restoring import restore

__all__ = ["BackupError", "Remote", "backup", "restore"]
