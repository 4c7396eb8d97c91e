"""Modules of the user whose classes a config may name, in addition to those of hafs.

A config may come from someone else, so it cannot decide which code runs. The user can: by installing a package that
declares `[project.entry-points."hafs.plugins"]`, or with `HAFS_PLUGINS=my_metrics` for a file in the current folder.
"""

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

VARIABLE = "HAFS_PLUGINS"
"""Environment variable: names of modules in the current folder, separated by commas."""
GROUP = "hafs.plugins"


def plugins() -> tuple[str, ...]:
    """Names of the declared modules; makes those in the current folder importable."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    if named and not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    return (*named, *(point.value.partition(":")[0] for point in entry_points(group=GROUP)))
