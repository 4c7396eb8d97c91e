"""Flags as other tools spell them: `--name value` and `--name=value` are read as the override `name=value`."""

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from hafs.config.overrides import TAKES_A_VALUE
from hafs.config.positional import known_keys
from hafs.core.errors import ConfigError


def as_overrides(argv: Sequence[str], command: str) -> list[str]:
    """The command line with flags of another spelling as overrides; Hydra's own flags stay.

    Args:
        argv: The command line without the program's name. After `--` nothing is a flag.
        command: Name of the command.

    Raises:
        ConfigError: A flag is neither Hydra's nor a key of the command, or has no value.
    """
    arguments, ours, known = list(argv), _hydras(), known_keys(command)
    read: list[str] = []
    while arguments:
        word = arguments.pop(0)
        flag, equals, value = word.partition("=")
        if word == "--":
            return [*read, word, *arguments]
        if not word.startswith("-") or len(word) < 2 or flag in ours or not flag.lstrip("-")[:1].isalpha():
            read.append(word)
            if word in TAKES_A_VALUE and arguments:
                read.append(arguments.pop(0))
            continue
        key = _key(flag, known, command)
        if not equals and (not arguments or arguments[0].startswith("--")):
            raise ConfigError(f"{flag} has no value", hint=f"overrides have the form key=value: {key}=...")
        read.append(f"{key}={value if equals else arguments.pop(0)}")
    return read


def _key(flag: str, known: set[str], command: str) -> str:
    """The key that a flag means: `--dataset.path`, `--max-new-tokens`.

    Raises:
        ConfigError: There is none.
    """
    name = flag.lstrip("-")
    for key in (name, name.replace("-", "_")):
        if flag.startswith("--") and (key in known or ("." in key and key.split(".")[0] in known)):
            return key
    from hafs.config.check import did_you_mean

    meant = did_you_mean(name.replace("-", "_"), known)
    near = (
        f"did you mean {meant.split(chr(39))[1]}=...?"
        if meant.startswith("did")
        else f"hafs {command} --help lists them"
    )
    raise ConfigError(f"hafs {command} has no flag {flag}: overrides have the form key=value", hint=near)


def _hydras() -> set[str]:
    """Every flag of Hydra's, in both spellings."""
    return {name for action in get_args_parser()._actions for name in action.option_strings}
