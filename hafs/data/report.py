"""The data report: statistics and problems of a dataset; `report_terminal` prints it, `report_files` writes it."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from hafs.core.errors import DataError
from hafs.data.enough import too_few
from hafs.data.remedy import remedy

PERCENTILES = (5, 25, 50, 75, 95, 99)
_BINS = 40
_MANY_ROWS = 10  # of one prompt, on average


@dataclass(frozen=True, kw_only=True)
class SplitSize:
    """The size of one split."""

    samples: int
    groups: int
    """Groups of rows that share a prompt or are near duplicates."""
    tokens: int
    supervised: int
    """Tokens that the loss counts."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Statistics of a dataset; `refusal` says why training would refuse it, or is None."""

    name: str
    files: dict[str, str]
    """Source files and their hashes."""
    rows: int
    """Lines that are not blank, accepted and rejected."""
    blank_lines: int
    rejected: dict[str, int]
    """Rejected rows by reason code, most frequent first."""
    reject_examples: dict[str, list[dict[str, Any]]]
    formats: dict[str, int]
    unused: dict[str, int]
    """Unused keys of accepted rows, with the number of rows or turns in which they have a value."""
    exact_duplicates: int
    near_duplicates: int
    near_dropped: int
    conflicts: int
    """Prompts that have several answers."""
    conflict_examples: list[dict[str, Any]]
    overlong: dict[str, int]
    """The number of rows longer than max_length, and how many were truncated, split or rejected."""
    tokens_lost: int
    lengths: dict[str, int]
    """Percentiles of tokens in a sample."""
    histogram: dict[str, list[int]]
    splits: dict[str, SplitSize]
    sample: list[tuple[str, bool]]
    """One sample as runs of text, each supervised or not."""
    notes: list[str]
    file_problems: list[str]
    fingerprint: str
    fingerprint_of_01: str | None = None
    """As release 0.1 would have computed it; None if an option was used that it did not have."""
    enough_length: int | None = None
    """The max_length that would include every row that is too long; None if no row is."""
    refusal: str | None
    rejected_file: Path | None

    def unused_keys(self, most: int | None = None) -> str:
        """The unused keys with their counts in one line, at most `most` of them."""
        shown = [f"{name} {count:,}" for name, count in list(self.unused.items())[:most]]
        left = len(self.unused) - len(shown)
        return ", ".join(shown + ([f"and {left:,} more"] if left else []))

    @property
    def samples(self) -> int:
        """Samples in all splits."""
        return sum(size.samples for size in self.splits.values())

    @property
    def tokens(self) -> int:
        """Tokens in all splits."""
        return sum(size.tokens for size in self.splits.values())

    @property
    def supervised_share(self) -> float:
        """Share of the tokens that the loss counts."""
        return sum(size.supervised for size in self.splits.values()) / max(1, self.tokens)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        facts = asdict(self)
        del facts["rejected_file"]
        return facts | {"samples": self.samples, "tokens": self.tokens, "supervised_share": self.supervised_share}

    @classmethod
    def read(cls, path: Path, rejected_file: Path) -> "DataReport":
        """Load a report that was saved with `as_dict`."""
        facts = orjson.loads(path.read_bytes())
        known: dict[str, Any] = {item.name: facts[item.name] for item in fields(cls) if item.name in facts}
        known["splits"] = {name: SplitSize(**size) for name, size in facts["splits"].items()}
        known["sample"] = [(text, flag) for text, flag in facts["sample"]]
        known["rejected_file"] = rejected_file
        return cls(**known)

    def thin(self) -> list[str]:
        """What the splits are too small for, a line each: rows of one prompt say little more than one row."""
        found, test, val = [], self.splits.get("test"), self.splits.get("val")
        if val and not val.samples and self.samples:
            found.append("the validation split is empty, so no epoch is measured and the last one is kept")
        if test and test.samples and (few := too_few(test.samples, test.groups)):
            found.append(f"an evaluation on the test split would find {few}")
        rows, groups = self.samples, sum(size.groups for size in self.splits.values())
        if groups and rows >= _MANY_ROWS * groups:
            found.append(f"{rows:,} samples share {groups:,} prompts: they teach and prove less than as many prompts")
        return found

    def judge(self, name: str, max_rejected: float) -> str | None:
        """Why training would refuse this data, in one line, or None."""
        bad = sum(self.rejected.values())
        if self.file_problems:
            return f"dataset {name!r}: {self.file_problems[0]}"
        if self.rows == 0:
            return f"dataset {name!r}: no rows in {', '.join(map(repr, self.files))}, only blank lines"
        if bad > max_rejected * self.rows:
            counted = f"{bad:,} of {self.rows:,} rows ({bad / self.rows:.1%}) cannot be used"
            return f"dataset {name!r}: {counted}, more than dataset.max_rejected={max_rejected:g}: {self._commonest()}"
        if not self.splits["train"].samples:
            return f"dataset {name!r}: no usable row to train on: {self._commonest() or 'max_samples is too small'}"
        return None

    def _commonest(self) -> str:
        parts = []
        for reason, count in list(self.rejected.items())[:3]:
            example = self.reject_examples[reason][0]
            parts.append(f"{count:,} {reason} ({example['file']} line {example['line']}: {example['message']})")
        return "; ".join(parts)

    def raise_refusal(self) -> None:
        """Raise an error if training should refuse the data.

        Raises:
            DataError: The message lists the most frequent reasons with an example's file and line.
        """
        if self.refusal:
            hint = remedy(self.rows, self.rejected, self.reject_examples, self.enough_length)
            raise DataError(self.refusal, hint=hint)


def percentiles(lengths: np.ndarray) -> dict[str, int]:
    """Percentiles of int[N] token counts, and the longest; empty for no samples."""
    if not len(lengths):
        return {}
    found = np.percentile(lengths, PERCENTILES, method="inverted_cdf")
    return {f"p{rank}": int(value) for rank, value in zip(PERCENTILES, found, strict=True)} | {
        "max": int(lengths.max())
    }


def histogram(lengths: np.ndarray) -> dict[str, list[int]]:
    """Up to 40 bins of equal width: `edges` in tokens, one more than `counts`."""
    if not len(lengths):
        return {"edges": [], "counts": []}
    low, high = int(lengths.min()), int(lengths.max()) + 1
    width = -(-(high - low) // _BINS)
    edges = np.arange(low, high + width, width)
    counts, _ = np.histogram(lengths, edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
