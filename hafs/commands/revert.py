"""Undo the last promotion in a model family: the previous version is in production again.

    hafs revert hyrule-asm

Exit code 2: the family has no previous version.
"""

from typing import TypedDict

from omegaconf import DictConfig

from hafs.config import build, command


class Settings(TypedDict):
    """The command's own keys in `conf/revert.yaml`."""

    family: str | None


def revert(config: DictConfig) -> None:
    """Put the previous version into production again.

    Raises:
        HafsError: There is no previous version.
    """
    from hafs.core.errors import ConfigError

    if not config.family:
        raise ConfigError("no model family was given", hint="hafs revert hyrule-asm")
    left, again = build(config.registry).revert(config.family)
    print(f"{again} answers for {config.family} again; {left} is retired")


main = command("revert", revert, description=__doc__ or "", settings=Settings, positional="family")

if __name__ == "__main__":
    main()
