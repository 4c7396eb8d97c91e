"""Restore registered models from a backup; promote them to use them again.

    hafs restore target=remote:hafs hyrule-asm-v1
    hafs restore target=remote:hafs triforce-moe-v1           a mixture, with those of its experts that are missing here

Every file is verified before the model is registered. Exit code 2: the backup is missing or incomplete.
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
        HafsError: rclone is missing, or the backup is incomplete.
    """
    from hafs.core.errors import ConfigError
    from hafs.registry import names
    from hafs.registry.backup import Remote
    from hafs.registry.backup import restore as fetch

    chosen = (config.names or "").split()
    if not chosen:
        fact = "no model was given"
        raise ConfigError(fact, hint="hafs restore target=remote:hafs hyrule-asm-v1; rclone lsf remote:hafs/models")
    remote, registry = Remote(config.target or ""), build(config.registry)
    for name in map(names.checked, chosen):
        entry = fetch(registry, remote, name, lambda line: print(line, flush=True))
        if entry.status != "production":
            print(f"-> hafs promote {name} puts it into production")


main = command("restore", restore, description=__doc__ or "", settings=Settings, positional="names")

if __name__ == "__main__":
    main()
