"""What `--help` prints: the door's own words, its groups and their options, its values; read from `conf/` as it is."""

from pathlib import Path
from textwrap import fill

import yaml

from hafs.config.tree import conf_folder, options


def help_text(door: str, words: str) -> str:
    """The help of a door.

    Args:
        door: Name of its primary config.
        words: What it does and how it is called.
    """
    path = conf_folder() / f"{door}.yaml"
    parts = [words.strip(), "Groups, chosen with GROUP=OPTION:\n\n" + _groups(path)]
    parts.append("Values, set with KEY=VALUE:\n\n" + _values(path))
    parts.append("--cfg job prints the composed config and runs nothing; --hydra-help shows Hydra's own flags.")
    return "\n\n".join(parts) + "\n"


def _groups(path: Path) -> str:
    lines = []
    for entry in yaml.safe_load(path.read_text())["defaults"]:
        group, default = next(iter(entry.items())) if isinstance(entry, dict) else ("override", None)
        if group.startswith("override"):
            continue
        chosen = default if isinstance(default, list) else [default]
        names = [f"{name}*" if name in chosen else name for name in options(group)]
        lines.append(fill(f"  {group:<10} {', '.join(names)}", width=100, subsequent_indent=" " * 13))
    return "\n".join(lines) + "\n\n  (* default; any field of an option can be set: adapter.r=8, stage.main.lr=1e-4)"


def _values(path: Path) -> str:
    """The door's own keys, with their comments, as they stand in its file."""
    text = path.read_text().split("\n\n", 1)[1]
    return "\n".join("  " + line for line in text.split("\nhydra:")[0].strip().splitlines())
