"""The record of an evaluation in a run's folder: what was measured on what, and what the gate decided.

`outputs/NAME/evaluation.json` is an `Evaluation`. The evaluation writes it; the registry reads it and nothing else.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from hafs.core import records
from hafs.core.errors import RunError

FILE = "evaluation.json"
"""Where a run's folder keeps the record."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of the base and of the tuned model, over the same rows."""

    base: float
    tuned: float
    difference: float
    """Tuned minus base."""
    low: float | None
    """Lower end of the difference's 95 % interval; None: there is none, `unsure` says why."""
    high: float | None
    """Upper end."""
    ratio: float | None
    """Tuned over base; None where the base is 0."""
    ratio_low: float | None
    """Lower end of the ratio's 95 % interval."""
    ratio_high: float | None
    """Upper end."""
    rows: int
    """Rows that the metric applies to."""
    groups: int | None = None
    """Prompts, or families by `split_group`, that these rows belong to; None: not recorded."""
    unsure: str = ""
    """Why there is no interval; empty where there is one."""
    better: Literal["higher", "lower", "neither"]
    """Which direction is good."""
    unit: str = ""
    """As text: nats, tokens, seconds; empty for a plain number, `share` for a part of one."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """One rule of the gate, applied."""

    metric: str
    """Whose figure it looks at."""
    rule: str
    """As configured: max_ratio, min_gain, max_loss_increase, ..."""
    limit: float
    """As configured."""
    figure: float | None
    """The figure that was compared with the limit; None: not measured, so the rule fails."""
    low: float | None
    """Lower end of the figure's 95 % interval."""
    high: float | None
    """Upper end."""
    passed: bool
    words: str
    """The ruling as one line of text."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's decision."""

    passed: bool
    """Whether every rule holds."""
    rules: tuple[Ruling, ...]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The rows that were measured; never seen in training or in early stopping."""

    dataset: str
    """Name of the dataset."""
    fingerprint: str
    """Of the prepared data, as the run recorded it."""
    rows: int
    """Of the test split."""
    tokens: int
    """Supervised tokens of these rows."""
    files: Mapping[str, str]
    """XXH3-128 and size of each source file."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The complete result of an evaluation: what was measured on what, and the verdict."""

    name: str
    """Of the run."""
    base: str
    """What it was compared with: the base's name and storage (`smollm2_135m-nf4`), or another run's name."""
    adapter_sha256: str
    """Of the evaluated adapter's tensors: a later adapter in the same folder was not evaluated."""
    split: HeldOut
    metrics: Mapping[str, Figure]
    verdict: Verdict
    skipped: Mapping[str, str]
    """Metrics that could not be measured here, and why."""
    max_new_tokens: int
    """Answers longer than this were cut."""
    date: str
    """ISO 8601, UTC."""
    seconds: float
    """The whole evaluation took."""

    def write(self, folder: Path) -> Path:
        """Write the record into a run's folder."""
        records.write_record(folder / FILE, asdict(self))
        return folder / FILE


def read(folder: Path) -> Evaluation | None:
    """The record of a run's folder; None if it was never evaluated.

    Raises:
        RunError: The file exists and is not a valid record.
    """
    path = folder / FILE
    try:
        found = records.read_record(path, unsealed=f"hafs evaluate name={folder.name} writes it again")
        return found if found is None else TypeAdapter(Evaluation).validate_python(found)
    except records.Damaged as damage:
        raise RunError(str(damage), hint=f"hafs evaluate name={folder.name} writes it again") from damage
    except ValidationError as error:
        why = " ".join(str(error).split())[:120]
        fact = f"{path} is not an evaluation record: {why}"
        raise RunError(fact, hint=f"hafs evaluate name={folder.name} writes it again") from error
