"""Folders of files that hafs cannot rebuild: quota and conversations; the registry and measurements of this machine."""

import os
from pathlib import Path


def state_folder() -> Path:
    """`$HAFS_STATE`, else the platform's state folder of this user; it may not exist yet."""
    from platformdirs import user_state_path

    base = os.environ.get("HAFS_STATE")
    return Path(base).expanduser() if base else user_state_path("hafs")


def data_folder() -> Path:
    """The folder of the registry and of measurements: `$HAFS_STATE`, else the platform's data folder of this user."""
    from platformdirs import user_data_path

    base = os.environ.get("HAFS_STATE")
    return Path(base).expanduser() if base else user_data_path("hafs", appauthor=False)
