"""Registers a finished run, or a mixture of registered models."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hafs.core import durable, records
from hafs.core.errors import ConfigError, GateRefused, HafsError, RunError
from hafs.data.dataset import Dataset
from hafs.data.prepare import prepare
from hafs.modeling.base_folder import base_folder, base_sha256, weights_sha256
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.weights import Weights, cache_folder
from hafs.registry import names
from hafs.registry.model_card import card, hub_name
from hafs.registry.registry import GateRecord, MetricRecord, Mixture, Record, Registry, fingerprint
from hafs.runs import evaluation_record
from hafs.runs.finished import Recorded, find, finished
from hafs.runs.run_folder import same_base

HELD_OUT = "held_out.jsonl"
"""Held-out conversations that are stored with the model, to verify its exports."""
HELD_OUT_ROWS = 50
KEPT = ("run.json", evaluation_record.FILE, "data_report.json", "summary.json")
"""Files of the run that are copied next to the adapter."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run with the components that are registered."""

    recorded: Recorded
    model: Model
    dataset: Dataset

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.recorded.folder

    @property
    def adapter(self) -> Path:
        """The best stage's adapter."""
        return self.recorded.adapter


def finished_run(name: str | None, *, root: Path = Path("outputs")) -> FinishedRun:
    """Read a finished run, by its name or its path.

    Raises:
        RunError: There is no such run, it is not finished, or its record or adapter is damaged.
    """
    found = finished(find(name, what="register", root=root))
    return FinishedRun(recorded=found, **found.components("model", "dataset"))


def passed_gate(run: FinishedRun, *, force: bool) -> tuple[dict[str, MetricRecord], GateRecord]:
    """The metrics of the evaluation and the verdict of the gate.

    Raises:
        GateRefused: The gate refused and `force` is not set.
        RunError: The run was not evaluated, or its adapter has changed since.
    """
    found = evaluation_record.read(run.folder)
    hint = f"hafs evaluate name={run.folder.name} (or force=true, which the record then states)"
    if found is None:
        if force:
            return {}, GateRecord(passed=False, forced=True, rules=["never evaluated"])
        raise RunError(f"the run {run.folder.name!r} was never evaluated", hint=hint)
    if found.adapter_sha256 != fingerprint(run.adapter)[0]:
        raise RunError(f"the adapter of {run.folder.name!r} has changed since the evaluation", hint=hint)
    verdict = found.verdict
    if not verdict.passed and not force:
        failed = "; ".join(ruling.words for ruling in verdict.rules if not ruling.passed)
        raise GateRefused(
            f"the gate refused {run.folder.name!r}: {failed}",
            hint="force=true registers it, and the record states that",
        )
    metrics = {
        name: MetricRecord(**{field.name: getattr(figure, field.name) for field in fields(MetricRecord)})
        for name, figure in found.metrics.items()
    }
    rules = [f"{'holds' if ruling.passed else 'fails'}: {ruling.words}" for ruling in verdict.rules]
    return metrics, GateRecord(passed=verdict.passed, forced=not verdict.passed, rules=rules, date=found.date)


def register_run(
    registry: Registry,
    run: FinishedRun,
    *,
    under: str | None,
    specialization: str | None,
    parents: Sequence[str],
    force: bool,
) -> Record:
    """Register a run's adapter as a candidate.

    Args:
        registry: The registry.
        run: The run.
        under: The model's name, or a family's; None: the run's name if it is a valid model name, else the next version
            of the family derived from it.
        specialization: What it is good at; None: the dataset's name.
        parents: Registered models that it was made from.
        force: Register it even if it did not pass the gate.

    Raises:
        HafsError: The gate did not pass it, the name is taken, or the registry cannot be written.
    """
    metrics, verdict = passed_gate(run, force=force)
    same_base(run.recorded.base, weights_sha256(run.model), run.folder)
    bytes_ = fingerprint(run.adapter)
    name = _named(registry, under, bytes_) if under else _proposed(registry, run.folder.name, bytes_)
    recorded = run.recorded
    described = json.dumps(recorded.config, sort_keys=True)
    record = Record(
        name=name, status="candidate", specialization=specialization or f"what {run.dataset.name} teaches",
        base=run.model.name, base_sha256=base_sha256(base_folder(run.model)), quant=recorded.config["quant"]["name"],
        adapter="", adapter_sha256=bytes_[0], adapter_config_sha256=bytes_[1], dataset=run.dataset.name,
        dataset_hash=recorded.data, config_sha256=hashlib.sha256(described.encode()).hexdigest(),
        trained=recorded.trained, registered=datetime.now(UTC).isoformat(timespec="seconds"), run=run.folder.name,
        parents=list(parents), metrics=metrics, gate=verdict, base_repo=_repo(run.model.weights),
    )  # fmt: skip
    kept = _held_out(run)
    registered = registry.add(record, lambda folder: _fill(folder, run, record, kept))
    assert isinstance(registered, Record)
    return registered


def _repo(weights: Weights) -> str:
    """The repository on the hub; empty for weights from elsewhere, such as a local folder."""
    return weights.repo if isinstance(weights, Hub) and not Path(weights.repo).is_dir() else ""


def _named(registry: Registry, wanted: str, bytes_: tuple[str, ...]) -> str:
    """A version unchanged; for a family its next version."""
    if names.is_version(wanted) or not names.is_version(f"{wanted}-v1"):
        return names.checked(wanted)
    return registry.propose(wanted, bytes_)


def _proposed(registry: Registry, run_name: str, bytes_: tuple[str, str]) -> str:
    if names.is_version(run_name):
        return run_name
    family = names.slug(run_name)
    if not family:
        raise HafsError(f"no model name can be derived from the run's name {run_name!r}", hint="under=hyrule-asm-v1")
    return registry.propose(family, bytes_)


def _held_out(run: FinishedRun) -> list[dict[str, Any]]:
    """Rows of the test split, then of the validation split; empty if the data is missing or has changed."""
    try:
        seed = run.recorded.config["seed"]
        data = prepare(run.dataset, run.model.tokenizer(), seed=seed, cache=cache_folder() / "datasets")
    except HafsError:
        return []
    if run.recorded.data not in data.fingerprints(run.folder):
        return []
    splits = [data.splits[name] for name in ("test", "val")]
    rows = [split.conversation(i) for split in splits for i in range(len(split))][:HELD_OUT_ROWS]
    return [{"messages": [m.as_row() for m in row]} for row in rows]


def questions(held_out: Path, *, most: int = 6, longest: int = 200) -> list[str]:
    """Distinct first questions of the held-out conversations, short ones only.

    Args:
        held_out: The file beside a registered adapter.
        most: How many.
        longest: Characters of one.
    """
    rows = [json.loads(line)["messages"] for line in held_out.read_text(encoding="utf-8").splitlines() if line]
    first = [next((m["content"] for m in row if m["role"] == "user"), "") for row in rows]
    asked = [" ".join(text.split()) for text in first if isinstance(text, str)]
    return list(dict.fromkeys(text for text in asked if 0 < len(text) <= longest))[:most]


def _fill(folder: Path, run: FinishedRun, record: Record, held_out: Sequence[dict[str, Any]]) -> None:
    for path in run.adapter.iterdir():
        if path.is_file() and path.name not in (durable.MANIFEST, "README.md"):
            shutil.copy2(path, folder / path.name)
    for name in KEPT:
        if _undamaged(run.folder / name):
            shutil.copy2(run.folder / name, folder / name)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in held_out]
    (folder / HELD_OUT).write_text("".join(lines), encoding="utf-8")
    text = card(record, base_repo=hub_name(run.model.weights))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _undamaged(path: Path) -> bool:
    """Whether a run's record exists and is undamaged; a damaged one is reported."""
    try:
        return records.read_record(path, unsealed="") is not None
    except records.Damaged:
        records.say_damaged(path, records.CHECKSUM, "it is not copied to the model's folder")
        return False


def register_mixture(
    registry: Registry, *, name: str, experts: Sequence[str], router: str, specialization: str | None
) -> Mixture:
    """Register a router over registered models.

    Args:
        registry: Where.
        name: Its own; a family is given its next version.
        experts: Registered models; a family means its version in production now.
        router: As in `router=`; it has that option.
        specialization: What it is good at; None: what its experts are.

    Raises:
        HafsError: An expert is not registered or is not a model, or the name is taken.
    """
    models = [registry.get(expert) for expert in experts]
    if not models:
        raise ConfigError("a mixture needs experts", hint="of=[hyrule-asm,yaze-sage]; hafs models lists the models")
    listed = [model.name for model in models]
    if wrong := [model.name for model in models if isinstance(model, Mixture)]:
        raise ConfigError(f"{wrong[0]!r} is itself a mixture", hint="of= takes models only")
    if twice := [each for each in listed if listed.count(each) > 1]:
        raise ConfigError(f"{twice[0]!r} is listed twice", hint="list each expert once")
    name = _named(registry, name, (*listed, router))
    good_at = "; ".join(dict.fromkeys(model.specialization for model in models))
    mixture = Mixture(
        name=name, status="candidate", specialization=specialization or good_at, experts=listed, router=router,
        registered=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    registered = registry.add(mixture)
    assert isinstance(registered, Mixture)
    return registered
