"""What a dataset is: files and options. `hafs.data.prepare` turns them into tokenized samples.

    sources -> decode -> formats -> lengths (tokens) -> ingest (on disk) -> assign (duplicates, groups, splits) -> store

Data streams in chunks, so memory does not grow with the file. The result is cached by content and memory-mapped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

Share = Annotated[float, Field(ge=0, lt=1)]
Overlong = Literal["reject", "truncate", "split"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where rows come from and how they are processed; `jsonl` documents each field."""

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
    syntax: Literal["ca65", "asar"] | None
    reasoning: Literal["keep", "drop"]
    kind: Literal["rows", "text"]
    split: str
    revision: str | None


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
    syntax: Literal["ca65", "asar"] | None,
    reasoning: Literal["keep", "drop"],
    kind: Literal["rows", "text"],
    split: Annotated[str, Field(min_length=1)],
    revision: str | None,
) -> Dataset:
    """Describe a dataset of JSONL files; nothing is read yet.

    Args:
        name: Name of the dataset in messages and reports.
        path: Files, folders, globs, or a list of them: `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet` or `.arrow`; or
            `hf://owner/name`, a dataset of the Hugging Face hub.
        max_length: Maximum tokens per sample, including the template's and the end token.
        overlong: How to handle longer samples: reject; truncate (the start of user turns); split at turn borders.
        val_fraction: Share of prompt groups held out for validation.
        test_fraction: Share of prompt groups held out for the test split.
        max_rejected: Maximum share of rejected rows; if more rows are rejected, training does not start.
        near_duplicate_threshold: Minimum Jaccard similarity of 16-byte shingles for near duplicates.
        drop_near_duplicates: Keep one row of each near-duplicate cluster instead of all in one split.
        system: A system message for rows that have none, or null.
        max_samples: Maximum number of samples, chosen by seed and content, or null.
        columns: Maps keys of the rows to the keys that hafs reads, such as `{my_question: prompt}`; or null.
        syntax: The assembler of code in the rows, where a row's own key `syntax` does not say it; or null.
        reasoning: Keep the reasoning of answers if the chat template renders it, or drop it.
        kind: `rows`: each row or line is a sample; `text`: files are sources or manuals, cut into samples.
        split: Of a dataset of the hub: the split that is read, and divided into training, validation and test.
        revision: Of a dataset of the hub: a branch, tag or commit, or null for its main branch.

    Raises:
        DataError: `val_fraction` and `test_fraction` add up to 1 or more.
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
        system=system, max_samples=max_samples, columns=columns, syntax=syntax, reasoning=reasoning,
        kind=kind, split=split, revision=revision,
    )  # fmt: skip
