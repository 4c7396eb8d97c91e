"""Tab completion: commands first, then the groups, options and keys that Hydra knows."""

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.utils import create_config_search_path

from hafs.config.overrides import ALIASES, SEQUENCES, rewrite
from hafs.config.shipped import conf_folder
from hafs.config.tree import options, register
from hafs.core.errors import HafsError


def complete(line: str, commands: Sequence[str]) -> list[str]:
    """Completions of the last word of a command line.

    Args:
        line: The command line up to the cursor, beginning with the program's name.
        commands: Names of the commands.
    """
    words = line.split(" ")
    if len(words) <= 2:
        return [
            command for command in (*commands, "completion") if command.startswith(words[-1] if len(words) == 2 else "")
        ]
    command, before, typed = words[1], [word for word in words[2:-1] if word], words[-1]
    group, _, value = typed.partition("=")
    if group in SEQUENCES and "=" in typed:
        done, comma, part = value.rpartition(",")
        names = [name for name in options(group) if name.startswith(part) and name not in done.split(",")]
        return [f"{group}={done}{comma}{name}" for name in names]
    return _hydra(command, before, typed)


def _hydra(command: str, before: Sequence[str], typed: str) -> list[str]:
    register()
    try:
        known = [word for word in rewrite(before) if "=" in word]
    except HafsError:
        known = []
    alias = next((alias for alias in ALIASES if typed.startswith(alias)), "")
    asked = ALIASES[alias] + typed.removeprefix(alias) if alias else typed
    loader = ConfigLoaderImpl(create_config_search_path(f"file://{conf_folder()}"))
    found = BashCompletion(loader)._query(config_name=command, line=" ".join([*known, asked]))
    return [alias + word.removeprefix(ALIASES[alias]) if alias else word for word in found]
