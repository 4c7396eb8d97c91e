"""Arguments that are not overrides: commands such as `hafs ask` take them literally.

hafs ask "Why is A=$00, not [$7E0010]?" router=llm      the first argument is the question, the second an override
hafs ask -- --cfg what does this flag do                after `--` every argument is literal
"""

import difflib
import re
from collections.abc import Collection, Sequence

import yaml
from omegaconf import OmegaConf

from hafs.config.overrides import ALIASES, TAKES_A_VALUE
from hafs.config.shipped import conf_folder
from hafs.core.errors import ConfigError

_FLAG = re.compile(r"^--?[A-Za-z][\w-]*(=.*)?$", re.DOTALL)
_OVERRIDE = re.compile(r"^(?:\+{0,2}(?P<key>[A-Za-z_]\w*)[\w./@:\[\]-]*=|~[A-Za-z_][\w./@:]*(?:=\S*)?$)")
_ALONE = re.compile(r"^[A-Za-z_][\w.]*=\S*$")


def known_keys(command: str) -> set[str]:
    """What an override of a command may begin with: keys of its config, config groups, and packages of groups."""
    tree = yaml.safe_load((conf_folder() / f"{command}.yaml").read_text(encoding="utf-8"))
    shared = [entry for entry in tree["defaults"] if isinstance(entry, str) and entry != "_self_"]
    keys = {key for key in tree if key != "defaults"}.union(*map(known_keys_of_file, shared))
    groups = {path.name for path in conf_folder().iterdir() if path.is_dir()}
    return keys | groups | {target.rstrip(".") for target in ALIASES.values()} | {"hydra"}


def known_keys_of_file(name: str) -> set[str]:
    """The top-level keys of a primary config that others include."""
    return set(yaml.safe_load((conf_folder() / f"{name}.yaml").read_text(encoding="utf-8"))) - {"defaults"}


def collect(argv: Sequence[str], key: str | None, command: str) -> list[str]:
    """The overrides, and the literal arguments joined by spaces as the value of `key`.

    The value reaches the config through a resolver, so nothing in it is parsed: commas, quotes, `${...}`, `???`.

    Args:
        argv: The command line without the program's name.
        key: The key for the literal arguments; None: the command has none, and `argv` is returned as it is.
        command: Name of the command.

    Raises:
        ConfigError: An argument is a mistyped override, or the key is given twice.
    """
    if key is None:
        return list(argv)
    overrides, literal = _split(argv, known_keys(command))
    if not literal:
        return overrides
    if any(word.startswith(f"{key}=") for word in overrides):
        raise ConfigError(f"{key} is given twice: as {key}=... and as {' '.join(literal)!r}")
    text = " ".join(literal)
    OmegaConf.register_new_resolver("typed", lambda: text, replace=True)
    return [*overrides, f"{key}=${{typed:}}"]


def _split(argv: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    overrides, literal, value_follows = [], [], False
    for i, word in enumerate(argv):
        if value_follows:
            overrides.append(word)
            value_follows = False
        elif word == "--":
            return overrides, [*literal, *argv[i + 1 :]]
        elif _FLAG.match(word):
            overrides.append(word)
            value_follows = word in TAKES_A_VALUE
        else:
            (overrides if _is_override(word, known) else literal).append(word)
    return overrides, literal


def _is_override(word: str, known: Collection[str]) -> bool:
    found = _OVERRIDE.match(word)
    if found is None:
        return False
    if word[0] in "+~" or found["key"] in known:
        return True
    near = difflib.get_close_matches(found["key"], known, 1, 0.75) if _ALONE.match(word) else []
    if near:
        raise ConfigError(
            f"there is no group or key {found['key']!r}",
            hint=f"did you mean {near[0]!r}? (after -- every argument is literal)",
        )
    return False
