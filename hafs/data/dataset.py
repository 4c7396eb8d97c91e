"""The dataset: raw JSONL in; checked, deduplicated, split and tokenized samples out.

    sources -> decode -> formats -> lengths (tokens) -> ingest (on disk) -> assign (duplicates, groups, splits) -> store

Everything streams in chunks, so memory does not grow with the file; the result is cached by content and memory-mapped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

if TYPE_CHECKING:
    from hafs.data.report import Report
    from hafs.data.samples import Prepared

Share = Annotated[float, Field(ge=0, lt=1)]
Overlong = Literal["reject", "truncate", "split"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where rows come from and what may become of them; `jsonl` says what each field means."""

    name: str
    path: tuple[str, ...]
    max_length: int
    overlong: Overlong
    val_fraction: float
    test_fraction: float
    max_rejected: float
    near_duplicate_threshold: float
    drop_near_duplicates: bool
    system: str | None
    max_samples: int | None
    columns: Mapping[str, str] | None
    reasoning: Literal["keep", "drop"]


def jsonl(
    *,
    name: Annotated[str, Field(min_length=1)],
    path: str | list[str],
    max_length: PositiveInt,
    overlong: Overlong,
    val_fraction: Share,
    test_fraction: Share,
    max_rejected: Annotated[float, Field(ge=0, le=1)],
    near_duplicate_threshold: Annotated[float, Field(gt=0, le=1)],
    drop_near_duplicates: bool,
    system: str | None,
    max_samples: PositiveInt | None,
    columns: dict[str, str] | None,
    reasoning: Literal["keep", "drop"],
) -> Dataset:
    """Describe JSONL files of instruction, chat, ShareGPT, prompt/completion or plain-text rows; nothing is read yet.

    Args:
        name: What the data is called in messages and reports.
        path: Files, globs, or a list of them; `.jsonl` or `.jsonl.gz`.
        max_length: Tokens a sample may have, template and end tokens included.
        overlong: What becomes of longer ones: reject; truncate (user turns lose their start); split at turn borders.
        val_fraction: Share of prompt groups held out for validation.
        test_fraction: Share of prompt groups held out for the test split.
        max_rejected: Share of rows that may be rejected before the data is refused.
        near_duplicate_threshold: Jaccard similarity of 16-byte shingles from which two rows are near duplicates.
        drop_near_duplicates: Keep one row of each near-duplicate cluster instead of all in one split.
        system: A system message for rows that have none, or null.
        max_samples: Use at most this many samples, chosen by seed and content, or null.
        columns: Keys of the rows, and as which keys they are read: `{my_question: prompt}`; or null.
        reasoning: What was thought before an answer: keep it where the chat template has a place for it, or drop it.

    Raises:
        DataError: The two fractions leave nothing to train on.
    """
    from hafs.core.errors import DataError

    if val_fraction + test_fraction >= 1:
        fact = (
            f"dataset {name!r}: val_fraction {val_fraction} + test_fraction {test_fraction} leave nothing to train on"
        )
        raise DataError(fact, hint="their sum must stay below 1")
    return Dataset(
        name=name, path=(path,) if isinstance(path, str) else tuple(path), max_length=max_length, overlong=overlong,
        val_fraction=val_fraction, test_fraction=test_fraction, max_rejected=max_rejected,
        near_duplicate_threshold=near_duplicate_threshold, drop_near_duplicates=drop_near_duplicates,
        system=system, max_samples=max_samples, columns=columns, reasoning=reasoning,
    )  # fmt: skip


def prepare(dataset: Dataset, tokenizer: Any, *, seed: int, cache: Path) -> "Prepared":
    """Check, deduplicate, tokenize and split the rows, or find all that in the cache.

    Args:
        dataset: What `jsonl` described.
        tokenizer: The transformers tokenizer whose template the samples are written with.
        seed: Decides, with the content alone, which split a row belongs to.
        cache: Folder that keeps finished work; safe to share between processes and to delete.

    Raises:
        DataError: No such file, nothing usable in it, or more rows rejected than `max_rejected` allows.
    """
    from hafs.data.samples import open_prepared

    prepared = open_prepared(dataset, tokenizer, seed=seed, cache=Path(cache))
    prepared.report.raise_refusal()
    return prepared


def report(dataset: Dataset, tokenizer: Any, *, seed: int, cache: Path) -> "Report":
    """Do the work of `prepare` and report on it; a refusal is in `Report.refusal` instead of raised.

    Raises:
        DataError: No such file, or nothing in it.
    """
    from hafs.data.samples import open_prepared

    return open_prepared(dataset, tokenizer, seed=seed, cache=Path(cache)).report
