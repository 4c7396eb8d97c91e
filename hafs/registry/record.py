"""The registry's records of models and of mixtures of models."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

Status = Literal["candidate", "production", "retired"]


@dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """A metric of the base and of the tuned model; the interval is the difference's, at 95 %."""

    base: float
    tuned: float
    difference: float
    low: float | None = None
    high: float | None = None
    better: str = "neither"
    """higher, lower or neither."""
    unit: str = ""
    unsure: str = ""
    """Why there is no interval."""


@dataclass(frozen=True, kw_only=True)
class GateRecord:
    """The gate's verdict."""

    passed: bool
    forced: bool = False
    """Registered although the gate refused it, or without an evaluation."""
    rules: list[str] = field(default_factory=list)
    """Its rulings, as text."""
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A registered model; its name always refers to the same bytes."""

    name: str
    """`{project}-{domain}-v{version}`."""
    status: Status
    specialization: str
    """What it is good at."""
    base: str
    """As in `model=`."""
    base_sha256: str
    """Of the base's weights and its config.json."""
    quant: str
    """How the base was stored in training, as in `quant=`."""
    adapter: str
    """Folder with the adapter in PEFT's format, relative to the registry's."""
    adapter_sha256: str
    """Of its tensors."""
    adapter_config_sha256: str
    """Of its adapter_config.json."""
    dataset: str
    dataset_hash: str
    """Fingerprint of the prepared data: content, tokenizer, template, options, seed."""
    config_sha256: str
    """Of the run's resolved config."""
    trained: str
    """ISO 8601, UTC."""
    registered: str
    """ISO 8601, UTC."""
    run: str = ""
    """The run's name."""
    base_repo: str = ""
    """The base's repository on the Hugging Face hub, if it came from there."""
    parents: list[str] = field(default_factory=list)
    """Models that it was made from."""
    metrics: dict[str, MetricRecord] = field(default_factory=dict)
    """Empty: it was never evaluated."""
    gate: GateRecord

    @property
    def bytes(self) -> tuple[str, str]:
        """The hashes that identify the model."""
        return self.adapter_sha256, self.adapter_config_sha256


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Registered models behind a router."""

    name: str
    status: Status
    specialization: str
    experts: list[str]
    """Names of registered models."""
    router: str
    """As in `router=`."""
    registered: str
    """ISO 8601, UTC."""

    @property
    def bytes(self) -> tuple[str, ...]:
        """What identifies the mixture: model names are immutable."""
        return (*self.experts, self.router)

    @property
    def described(self) -> str:
        """Its parts as text."""
        return f"{', '.join(self.experts)} behind the {self.router} router"


Entry = Record | Mixture
TABLES: Mapping[str, type] = {"models": Record, "mixtures": Mixture}
"""Kinds of entries by their table in the file."""


def table_of(entry: Entry) -> str:
    """The table that an entry stands in."""
    return next(table for table, kind in TABLES.items() if isinstance(entry, kind))


def read(table: str, name: str, node: Mapping[str, Any]) -> Entry:
    """Parse an entry of the file; keys that hafs does not know are ignored.

    Raises:
        ValueError: A key is missing or has the wrong type; the message names it.
    """
    kind = TABLES[table]
    known = {f.name for f in fields(kind)}
    given = {key: value for key, value in node.items() if key in known} | {"name": name}
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        return adapter.validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (table, name, *first["loc"]))
        raise ValueError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}") from error


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as a TOML table: without its name, which is the key, and without null values."""
    return _without_nulls({key: value for key, value in asdict(entry).items() if key != "name"})


def _without_nulls(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_nulls(value) for key, value in node.items() if value is not None}
    return node
