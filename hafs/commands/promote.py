"""Let a registered version answer for its family from now on.

    hafs promote hyrule-asm-v2                                experts with adapter: hyrule-asm answer with it
    hafs revert hyrule-asm                                  undoes it

A `hafs serve` that runs keeps the version it started with. Exit code 2: there is no such version, or its bytes have
changed.
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
        HafsError: There is no such version, or its bytes are not what was registered.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry import names
    from hafs.registry.registry import Record

    if not config.version:
        raise ConfigError("there is no version to promote", hint="hafs promote hyrule-asm-v2; hafs models shows them")
    registry = build(config.registry)
    before = registry.promote(config.version)
    entry = registry.get(config.version)
    instead = f" instead of {before}" if before else ""
    print(f"{entry.name} answers for {names.family(entry.name)} from now on{instead}")
    if isinstance(entry, Record) and entry.gate.forced:
        print("note: the gate did not pass it; it was registered with force=true")


main = command("promote", promote, words=__doc__ or "", settings=Settings, positional="version")

if __name__ == "__main__":
    main()
