"""What `--help` prints: the command's docstring, its groups and their options, its keys; read from `conf/`."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml

from hafs.config.shipped import conf_folder
from hafs.config.tree import options


def help_text(command: str, about: str) -> str:
    """The help of a command.

    Args:
        command: Name of its primary config.
        about: What the command does and how it is called: its docstring.
    """
    path = conf_folder() / f"{command}.yaml"
    parts = [about.strip(), "Groups, chosen with GROUP=OPTION:\n\n" + _groups(path)]
    parts.append("Values, set with KEY=VALUE:\n\n" + _values(path))
    parts.append("--cfg job prints the composed config and runs nothing; --hydra-help shows Hydra's own flags.")
    return "\n\n".join(parts) + "\n"


def _groups(path: Path) -> str:
    lines = []
    for group, default in _defaults(path):
        chosen = default if isinstance(default, list) else [default]
        names = [f"{name}*" if name in chosen else name for name in options(group)]
        lines.append(fill(f"  {group:<10} {', '.join(names)}", width=100, subsequent_indent=" " * 13))
    return "\n".join(lines) + "\n\n  (* default; any field of an option can be set: adapter.r=8, stage.main.lr=1e-4)"


def _defaults(path: Path) -> Iterator[tuple[str, Any]]:
    """Groups and their defaults, including those of a config that this one extends."""
    for entry in yaml.safe_load(path.read_text())["defaults"]:
        if isinstance(entry, str) and entry not in ("command", "_self_"):
            yield from _defaults(path.with_name(f"{entry}.yaml"))
        elif isinstance(entry, dict) and not next(iter(entry)).startswith("override"):
            yield next(iter(entry.items()))


def _values(path: Path) -> str:
    """The command's own keys, with their comments, from its file and from that of the command that it extends."""
    first = yaml.safe_load(path.read_text()).get("defaults", ["command"])[0]
    before = _values(path.with_name(f"{first}.yaml")) + "\n" if first != "command" else ""
    text = path.read_text().split("\n\n", 1)[1]
    return before + "\n".join("  " + line for line in text.split("\nhydra:")[0].strip().splitlines())
