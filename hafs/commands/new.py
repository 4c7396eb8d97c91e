"""Write a commented file of your own into ./conf: an expert, a dataset, a model, a provider, a stage or a metric.

    hafs new expert bread               ./conf/expert/bread.yaml, then expert=bread
    hafs new dataset bread              ./conf/dataset/bread.yaml, then dataset=bread
    hafs new model coder3b              ./conf/model/coder3b.yaml, then model=coder3b
    hafs new provider workstation       ./conf/provider/workstation.yaml, then provider=workstation
    hafs new stage gentle               ./conf/stage/gentle.yaml, then stage=gentle
    hafs new metric brevity             ./brevity.py and ./conf/metrics/brevity.yaml, then metrics=brevity

An expert called like a registered model is filled in: its adapter, and held-out questions as examples. An existing file
is never replaced. What a file leaves out has a default. Exit codes: 0 written, 2 user error.
"""

from typing import TYPE_CHECKING, Any, TypedDict

from omegaconf import DictConfig

from hafs.config import build, command

if TYPE_CHECKING:
    from hafs.registry.registry import Record


class Settings(TypedDict):
    """The command's own keys in `conf/new.yaml`."""

    what: str | None


def new(config: DictConfig) -> None:
    """Write the file, and print the command that uses it.

    Raises:
        ConfigError: The kind is unknown, the name is not valid, or the file exists.
    """
    from hafs.config.next_command import say_next
    from hafs.config.scaffold import KINDS, write
    from hafs.core.errors import ConfigError

    arguments = (config.what or "").split()
    if len(arguments) != 2:
        fact = f"{config.what!r} is not a kind and a name" if arguments else "no kind and no name were given"
        raise ConfigError(fact, hint=f"hafs new expert bread; kinds: {', '.join(KINDS)}")
    kind, name = arguments
    facts = _registered(build(config.registry), name) if kind == "expert" else {}
    base = facts.pop("base", ())
    for path in write(kind, name, facts):
        print(f"wrote {path}")
    setting = f"HAFS_PLUGINS={name} " if kind == "metric" else ""
    why = "" if facts else "after you have edited it"
    say_next(*KINDS[kind].next_words(name, facts), *base, why=why, setting=setting)


def _registered(registry: Any, name: str) -> dict[str, Any]:
    """Adapter, specialization and example questions of the registered model of this name; empty if there is none."""
    from hafs.core.errors import HafsError
    from hafs.registry.registration import HELD_OUT, questions
    from hafs.registry.registry import Record

    for family in dict.fromkeys((name, name.replace("_", "-"))):
        try:
            entry = registry.get(family)
        except HafsError:
            continue
        if isinstance(entry, Record):
            asked = questions(registry.verified(entry) / HELD_OUT)
            base = _base_overrides(entry)
            return {"adapter": family, "specialization": entry.specialization, "examples": asked, "base": base}
    return {}


def _base_overrides(entry: "Record") -> list[str]:
    """The overrides with which this machine answers with the model's base, where that is not the default one."""
    from hafs.config import compose
    from hafs.config.tree import options

    local = compose("ask", ["provider=local"]).providers.local
    given = {"models.coding": (local.models.coding, entry.base), "host.quant": (local.host.quant, entry.quant)}
    known = entry.base in options("model")
    return [f"provider.local.{key}={own}" for key, (default, own) in given.items() if known and own != default]


main = command("new", new, description=__doc__ or "", settings=Settings, positional="what")

if __name__ == "__main__":
    main()
