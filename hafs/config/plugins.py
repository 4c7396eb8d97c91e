"""Modules of people's own whose classes a config may name, beside those of hafs.

A config may come from elsewhere, so it cannot decide what code runs. The person who starts hafs can: by installing a
package that declares `[project.entry-points."hafs.plugins"]`, or by `HAFS_PLUGINS=my_metrics` for a file in the current
folder.
"""

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

VARIABLE = "HAFS_PLUGINS"
"""Names of modules in the current folder, with commas between them."""
GROUP = "hafs.plugins"


def plugins() -> tuple[str, ...]:
    """Names of the modules that were declared; those in the current folder can be imported after this."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    if named and not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    return (*named, *(point.value.partition(":")[0] for point in entry_points(group=GROUP)))
