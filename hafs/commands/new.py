"""Write a commented file of your own into ./conf: an expert, a dataset, a model, a provider, a stage or a metric.

    hafs new expert bread               ./conf/expert/bread.yaml, then expert=bread
    hafs new dataset bread              ./conf/dataset/bread.yaml, then dataset=bread
    hafs new model coder3b              ./conf/model/coder3b.yaml, then model=coder3b
    hafs new provider workstation       ./conf/provider/workstation.yaml, then provider=workstation
    hafs new stage gentle               ./conf/stage/gentle.yaml, then stage=gentle
    hafs new metric brevity             ./brevity.py and ./conf/metrics/brevity.yaml, then metrics=brevity

An existing file is never replaced. What a file leaves out has a default. Exit codes: 0 written, 2 user error.
"""

from typing import TypedDict

from omegaconf import DictConfig

from hafs.config import command


class Settings(TypedDict):
    """The command's own keys in `conf/new.yaml`."""

    what: str | None


def new(config: DictConfig) -> None:
    """Write the file, and print the command that uses it.

    Raises:
        ConfigError: The kind is unknown, the name is not valid, or the file exists.
    """
    from hafs.config.scaffold import KINDS, write
    from hafs.core.errors import ConfigError

    words = (config.what or "").split()
    if len(words) != 2:
        fact = f"{config.what!r} is not a kind and a name" if words else "no kind and no name were given"
        raise ConfigError(fact, hint=f"hafs new expert bread; kinds: {', '.join(KINDS)}")
    for path in write(*words):
        print(f"wrote {path}")
    print(f"-> edit it, then: {KINDS[words[0]].next.replace('NAME', words[1])}")


main = command("new", new, description=__doc__ or "", settings=Settings, positional="what")

if __name__ == "__main__":
    main()
