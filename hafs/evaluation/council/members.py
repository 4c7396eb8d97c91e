"""Finds the experts of a scored council, and the finished run or registered model of each."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from hafs.config import compose
from hafs.config.check import did_you_mean
from hafs.core.errors import ConfigError
from hafs.council.assembly import assemble
from hafs.council.expert import Expert
from hafs.council.router import Panel
from hafs.evaluation.subject import Subject, open_registered, open_run
from hafs.modeling.adapter import Full
from hafs.registry import names
from hafs.registry.registry import Mixture, Record, Registry


def seated(config: DictConfig) -> tuple[Any, dict[str, Subject]]:
    """The council for these overrides, whose experts have the scored adapters, and their runs.

    Args:
        config: Of the command. `council` is a list of experts, of registered models or one mixture of them, or a
            mapping from experts to runs.

    Raises:
        ConfigError: There is no such expert, or nothing was trained for it.
        HafsError: A run is not finished, or a registered model is damaged.
    """
    registry, chosen = Registry.open(), OmegaConf.to_object(config.council)
    mixture = _mixture(chosen, registry)
    with open_dict(config):
        config.mixture = mixture and mixture.name
        config.providers = config.get("providers") or compose("ask").providers
    chat = assemble(config)
    if mixture:
        panel = chat.panel.experts
        chosen = {name: expert.adapter for name, expert in panel.items() if expert.adapter in mixture.experts}
    members: dict[str, Subject] = {}
    for name, source in list(_pairs(chosen, chat.panel.experts, registry)):
        if name in members:
            raise ConfigError(f"council= has expert {name!r} twice")
        members[name] = _opened(name, source, registry)
    return chat.model_copy(update={"panel": _only(members, chat.panel)}), members


def _only(members: Mapping[str, Subject], panel: Panel) -> Panel:
    """The panel with the experts that are scored and their adapters, and with the default expert."""
    experts = {
        name: replace(expert, adapter=str(members[name].weights)) if name in members else expert
        for name, expert in panel.experts.items()
        if name in members or name == panel.default
    }
    return replace(panel, experts=experts)


def _mixture(chosen: Any, registry: Registry) -> Mixture | None:
    """The registered mixture, if a single one was chosen."""
    if not isinstance(chosen, list) or len(chosen) != 1 or not _registered(chosen[0], registry):
        return None
    entry = registry.get(chosen[0])
    return entry if isinstance(entry, Mixture) else None


def _registered(word: str, registry: Registry) -> bool:
    return names.family(word) in map(names.family, registry.entries())


def _pairs(chosen: Any, experts: Mapping[str, Expert], registry: Registry) -> Iterator[tuple[str, str | None]]:
    """Names of experts, and the sources of their adapters."""
    sources = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen)
    if len(sources) < len(chosen):
        raise ConfigError(f"council={','.join(chosen)} has an expert twice")
    for word, source in sources.items():
        if word in experts:
            yield word, source or experts[word].adapter
        elif source is None and _registered(word, registry) and isinstance(entry := registry.get(word), Record):
            yield _expert_of(entry, experts), entry.name
        else:
            known = {*experts, *registry.entries()}
            raise ConfigError(
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
