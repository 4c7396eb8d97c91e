"""The folder of this user's state: quota, calibrations, conversations."""

import os
from pathlib import Path


def state_folder() -> Path:
    """`$HAFS_STATE`, else the platform's state folder of this user; it may not exist yet."""
    from platformdirs import user_state_path

    base = os.environ.get("HAFS_STATE")
    return Path(base).expanduser() if base else user_state_path("hafs")
