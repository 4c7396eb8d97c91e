"""Bring registered models back from a backup; they answer the same, once they are promoted.

    hafs restore target=remote:hafs hyrule-asm-v1
    hafs restore target=remote:hafs triforce-moe-v1           a mixture, and those of its experts that are not here

Every byte is verified before the registry knows it. Exit code 2: it is not there, or not whole.
"""

from typing import TypedDict

from omegaconf import DictConfig

from hafs.config import build, command


class Settings(TypedDict):
    """The command's own keys in `conf/restore.yaml`."""

    target: str | None
    names: str | None


def restore(config: DictConfig) -> None:
    """Fetch, verify, register.

    Raises:
        HafsError: rclone is missing, or the backup is not whole.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry import names
    from hafs.registry.backup import Remote
    from hafs.registry.backup import restore as fetch

    chosen = (config.names or "").split()
    if not chosen:
        fact = "there is no model to restore"
        raise ConfigError(fact, hint="hafs restore target=remote:hafs hyrule-asm-v1; rclone lsf remote:hafs/models")
    remote, registry = Remote(config.target or ""), build(config.registry)
    for name in map(names.checked, chosen):
        entry = fetch(registry, remote, name, lambda line: print(line, flush=True))
        if entry.status != "production":
            print(f"-> hafs promote {name} lets it answer")


main = command("restore", restore, words=__doc__ or "", settings=Settings, positional="names")

if __name__ == "__main__":
    main()
