"""Backups of registered models, their runs and datasets, to any remote that rclone supports.

    TARGET/models/NAME/...        a registered model's folder, with MANIFEST.json, copied last
    TARGET/models/NAME/record.toml    its record in the registry
    TARGET/mixtures/NAME/record.toml  a mixture's record; its experts are backed up with it
    TARGET/runs/NAME/...          the run it came from, without checkpoints
    TARGET/datasets/NAME/HASH/... the source files of its data, by their content: later rows replace no earlier ones
    TARGET/registry.toml          the whole registry

rclone copies incrementally, by hash. Running the command again resumes a copy. hafs verifies every copy by hash, and
deletes nothing unless asked.
"""

from hafs.registry.backup.copying import backup
from hafs.registry.backup.remote import BackupError, Remote
from hafs.registry.backup.restoring import restore

__all__ = ["BackupError", "Remote", "backup", "restore"]
