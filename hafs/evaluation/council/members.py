"""Which experts a council is scored with, and the finished run or registered model behind each."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from hafs.adapter import Full
from hafs.config import build, compose
from hafs.config.check import did_you_mean
from hafs.errors import ConfigError
from hafs.evaluation.subject import Subject, open_registered, open_run
from hafs.expert import Expert
from hafs.graph import assemble
from hafs.registry import Mixture, Record, Registry, names


def seated(config: DictConfig) -> tuple[Any, dict[str, Subject]]:
    """The council that the words describe, its experts with the adapters that are scored, and the runs behind them.

    Args:
        config: Of the door. `council` is a list of experts, of registered models or one mixture of them, or a mapping
            from experts to runs.

    Raises:
        ConfigError: There is no such expert, or nothing was trained for it.
        HafsError: A run is not finished, or a registered model is damaged.
    """
    if not config.get("providers"):
        with open_dict(config):
            config.providers = compose("ask").providers
    chat = assemble(config)
    registry: Registry = build(config.registry)
    members: dict[str, Subject] = {}
    chosen: Any = OmegaConf.to_object(config.council)
    for name, source in list(_pairs(chosen, chat.panel.experts, registry, chat.router.name)):
        if name in members:
            raise ConfigError(f"council= has expert {name!r} twice")
        members[name] = _opened(name, source, registry)
    experts = {
        name: replace(expert, adapter=str(members[name].weights)) if name in members else expert
        for name, expert in chat.panel.experts.items()
        if name in members or name == config.default_expert
    }
    default = config.default_expert if config.default_expert in experts else next(iter(experts))
    return chat.model_copy(update={"panel": replace(chat.panel, experts=experts, default=default)}), members


def _pairs(
    chosen: Any, experts: Mapping[str, Expert], registry: Registry, router: str
) -> Iterator[tuple[str, str | None]]:
    """Names of experts, and where their adapters come from."""
    if isinstance(chosen, Mapping):
        for name, source in chosen.items():
            if name not in experts:
                raise _unknown(str(name), experts)
            yield str(name), source or experts[name].adapter
        return
    for word in chosen:
        if word in experts:
            yield word, experts[word].adapter
        elif isinstance(entry := _entry(word, experts, registry), Mixture):
            if entry.router != router:
                fact = f"{entry.name} is a mixture behind the {entry.router} router, and router is {router}"
                raise ConfigError(fact, hint=f"router={entry.router}")
            yield from _pairs(entry.experts, experts, registry, router)
        else:
            yield _expert_of(entry, experts), entry.name


def _entry(word: str, experts: Mapping[str, Expert], registry: Registry) -> Record | Mixture:
    if names.family(word) not in map(names.family, registry.entries()):
        raise _unknown(word, {**experts, **registry.entries()})
    return registry.get(word)


def _unknown(word: str, known: Mapping[str, Any]) -> ConfigError:
    return ConfigError(
        f"council={word}: no expert of the panel and no registered model has that name",
        hint=f"{did_you_mean(word, known)}; expert=asm,NAME puts another expert on the panel".lstrip("; "),
    )


def _expert_of(record: Record, experts: Mapping[str, Expert]) -> str:
    family = names.family(record.name)
    found = [name for name, expert in experts.items() if expert.adapter and names.family(expert.adapter) == family]
    if not found:
        hint = f"council={{asm: {record.name}}} says whose it is"
        raise ConfigError(f"no expert of the panel has the adapter {family!r}", hint=hint)
    return found[0]


def _opened(name: str, source: str | None, registry: Registry) -> Subject:
    """The run of that name or path, else the registered model of that name."""
    if source is None:
        fact = f"expert {name!r} has no adapter, so there is nothing of its own to score"
        raise ConfigError(fact, hint=f"council={{{name}: RUN}}, or leave it out")
    folders = (Path("outputs") / source, Path(source).expanduser(), Path(source).expanduser().parent)
    runs = [folder for folder in folders if (folder / "run.json").is_file() and (folder / "events.jsonl").is_file()]
    if runs:
        return _with_adapter(open_run(runs[0]))
    entry = registry.get(source)
    if not isinstance(entry, Record):
        raise ConfigError(f"expert {name!r} has the adapter {source!r}, which is a mixture")
    return _with_adapter(open_registered(registry, entry))


def _with_adapter(subject: Subject) -> Subject:
    if isinstance(subject.adapter, Full):
        raise ConfigError(f"{subject.folder} trained the whole model; a council's experts are adapters of one base")
    return subject
