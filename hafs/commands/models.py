"""Show the registry: all models and mixtures, or one in full.

    hafs models
    hafs models show hyrule-asm-v1
    hafs models show hyrule-asm                               the version in production

Exit code 2: the registry has no such model, or the model's files have changed.
"""

from typing import TYPE_CHECKING, Any, TypedDict

from omegaconf import DictConfig

from hafs.config import build, command

if TYPE_CHECKING:
    from hafs.registry.registry import Entry, Record, Registry


class Settings(TypedDict):
    """The command's own keys in `conf/models.yaml`."""

    what: str | None


def models(config: DictConfig) -> None:
    """Print the table, or one entry.

    Raises:
        HafsError: The registry has no such model, or it is damaged.
    """
    from rich.console import Console

    registry, arguments = build(config.registry), str(config.what or "").split()
    if arguments:
        _show(Console(), registry, registry.get(_name_among(arguments)))
    else:
        _list(Console(), registry)


def _name_among(arguments: list[str]) -> str:
    from hafs.core.errors import ConfigError

    if len(arguments) != 2 or arguments[0] != "show":
        raise ConfigError(
            f"hafs models got {' '.join(arguments)!r}, expected nothing or 'show NAME'", hint="hafs models show NAME"
        )
    return arguments[1]


def _list(console: Any, registry: "Registry") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    entries = registry.entries()
    if not entries:
        print(f"{registry.path} is empty\n-> hafs register name=RUN")
        return
    table = Table(
        title=str(registry.path), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    table.add_column("name", overflow="fold", min_width=min(30, max(map(len, entries))))
    for column in ("status", "base", "perplexity", "gate", "good at"):
        table.add_column(column, overflow="fold", no_wrap=column in ("status", "perplexity", "gate"))
    colors = {"production": "green", "retired": "dim", "candidate": ""}
    for entry in entries.values():
        table.add_row(*map(Text, _cells(entry)), style=colors[entry.status])
    console.print(table)


def _cells(entry: "Entry") -> list[str]:
    from hafs.registry.registry import Record

    if not isinstance(entry, Record):
        return [entry.name, entry.status, "mixture", "", "", entry.described]
    found = entry.metrics.get("perplexity")
    perplexity = f"{found.base:.3g} -> {found.tuned:.3g}" if found else "not measured"
    base = f"{entry.base} {entry.quant}"
    return [entry.name, entry.status, base, perplexity, _gate(entry), entry.specialization]


def _gate(record: "Record") -> str:
    return "forced" if record.gate.forced else "passed" if record.gate.passed else "refused"


def _show(console: Any, registry: "Registry", entry: "Entry") -> None:
    from rich.markdown import Markdown

    from hafs.registry.model_card import body
    from hafs.registry.registry import Record

    if not isinstance(entry, Record):
        print(f"{entry.name}: {entry.status}, a mixture of {entry.described}")
        print(f"good at: {entry.specialization}")
        print(f'-> hafs ask "..." mixture={entry.name}')
        return
    print(f"{entry.name}: {entry.status}, {registry.store.adapter_folder(entry)}")
    console.print(Markdown(body(entry)))
    registry.whole(entry)


main = command("models", models, description=__doc__ or "", settings=Settings, positional="what")

if __name__ == "__main__":
    main()
