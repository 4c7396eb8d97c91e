"""Put a registered version into production: experts that name its family answer with it.

    hafs promote hyrule-asm-v2          experts with adapter: hyrule-asm now answer with version 2
    hafs revert hyrule-asm              undo

A running `hafs serve` keeps the version it started with. Exit code 2: the registry has no such version, or its files
have changed.
"""

from typing import TypedDict

from omegaconf import DictConfig

from hafs.config import build, command


class Settings(TypedDict):
    """The command's own keys in `conf/promote.yaml`."""

    version: str | None


def promote(config: DictConfig) -> None:
    """Put a version into production.

    Raises:
        HafsError: The registry has no such version, or its files differ from what was registered.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry import names
    from hafs.registry.registry import Record

    if not config.version:
        raise ConfigError("no version was given", hint="hafs promote hyrule-asm-v2; hafs models lists the models")
    registry = build(config.registry)
    before = registry.promote(config.version)
    entry = registry.get(config.version)
    instead = f" instead of {before}" if before else ""
    print(f"{entry.name} answers for {names.family(entry.name)} from now on{instead}")
    if isinstance(entry, Record) and entry.gate.forced:
        print("note: the gate refused this version; it was registered with force=true")


main = command("promote", promote, description=__doc__ or "", settings=Settings, positional="version")

if __name__ == "__main__":
    main()
