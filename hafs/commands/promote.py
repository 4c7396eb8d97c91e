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
    from hafs.config.next_command import say_next
    from hafs.config.own_options import adapter_of
    from hafs.config.tree import options
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
    family = names.family(entry.name)
    asked = [name for name in options("expert") if adapter_of(name) in (family, entry.name)]
    if not isinstance(entry, Record):
        say_next("ask", "...", f"mixture={entry.name}")
    elif asked:
        say_next("ask", "...", f"expert={asked[0]},general", why="the expert answers with it")
    else:
        say_next("new", "expert", family.replace("-", "_"), why="an expert that answers with it")


main = command("promote", promote, description=__doc__ or "", settings=Settings, positional="version")

if __name__ == "__main__":
    main()
