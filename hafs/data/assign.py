"""Pass two: drop duplicates, group related rows, and assign each group to a split.

The result depends on content and seed only, not on the order of rows, on file names or on the number of files. The hash
of a group's key determines its split, so adding rows does not move existing rows (unless they join two groups).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hafs.data.content import seeded
from hafs.data.dataset import Dataset
from hafs.data.near_duplicates import join, near_clusters, sort_equal
from hafs.data.siblings import families
from hafs.data.store import Columns, release_memory

SPLITS = ("train", "val", "test")
_FEWEST_GROUPS = 3
_EXAMPLES = 5


@dataclass(kw_only=True)
class Assignment:
    """The split of each row; row numbers are those of pass one."""

    rows: np.ndarray  # int32[N], kept rows, ordered by content
    split: np.ndarray  # int8[N], places in SPLITS
    family: np.ndarray  # uint64[N], key of the question or of its template: what an evaluation counts as one prompt
    groups: list[int]  # groups in each of SPLITS
    largest: int  # rows of the largest group
    exact_duplicates: int
    near_duplicates: int  # rows that nearly repeat another row
    near_dropped: int
    conflicts: int  # prompts with more than one answer
    conflict_rows: list[list[int]]  # examples: rows with the same prompt
    common_template: int  # rows of templates that are too common to keep in one split


def assign(folder: Path, rows: Columns, samples: Columns, dataset: Dataset, *, seed: int) -> Assignment:
    """Deduplicate, group and split the rows that pass one wrote into `folder`."""
    kept, duplicates = _unique(rows)
    labels = near_clusters(folder, kept, threshold=dataset.near_duplicate_threshold)
    near = int((labels != np.arange(len(labels))).sum())  # every cluster is labelled with its first row
    release_memory()
    if dataset.drop_near_duplicates:
        kept = kept[labels == np.arange(len(labels))]
        labels = np.arange(len(kept), dtype=np.int32)
    family, common = families(rows.load("opening")[kept], rows.load("template")[kept])
    group = _groups(labels, family)
    if dataset.max_samples is not None:
        chosen = _choose(kept, rows.load("content")[kept], samples.load("row"), dataset.max_samples, seed=seed)
        kept, group, family = kept[chosen], group[chosen], family[chosen]
    release_memory()
    conflicts, examples = _conflicts(rows.load("prompt")[kept], kept)
    release_memory()
    split = deal(group, dataset.val_fraction, dataset.test_fraction, seed=seed)
    ordered, same = sort_equal(group)
    first = split[ordered[~same]]
    sizes = np.diff(np.append(np.flatnonzero(~same), len(same)))
    return Assignment(
        rows=kept, split=split, family=family, groups=np.bincount(first, minlength=len(SPLITS)).tolist(),
        largest=int(sizes.max(initial=0)), exact_duplicates=duplicates, near_duplicates=near,
        near_dropped=near if dataset.drop_near_duplicates else 0, conflicts=conflicts, conflict_rows=examples,
        common_template=common,
    )  # fmt: skip


def _unique(rows: Columns) -> tuple[np.ndarray, int]:
    """One row number per distinct content, ordered by content: the row whose exact bytes have the lowest hash."""
    content = rows.load("content")
    order = np.lexsort((rows.load("exact"), content))
    content = content[order]
    first = np.concatenate(([True], content[1:] != content[:-1])) if len(content) else np.zeros(0, bool)
    return order[first].astype(np.int32), int(len(order) - first.sum())


def _groups(labels: np.ndarray, family: np.ndarray) -> np.ndarray:
    """The group key of each row; near duplicates and rows of one family share a group."""
    order, same = sort_equal(family)
    labels = join(labels, order[:-1][same[1:]], order[1:][same[1:]])
    del order, same
    key = np.full(len(labels), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(key, labels, family)
    return key[labels]


def _choose(kept: np.ndarray, content: np.ndarray, sample_rows: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """Places in `kept`, ascending, of the rows of lowest seeded hash that together give at most `most` samples."""
    order = np.argsort(seeded(content, seed + 1), kind="stable")
    total = np.cumsum(np.bincount(sample_rows, minlength=int(kept.max(initial=-1)) + 1)[kept[order]])
    return np.sort(order[total <= most])


def _conflicts(prompt: np.ndarray, kept: np.ndarray) -> tuple[int, list[list[int]]]:
    """The number of prompts with several answers, and rows of the first few; exact duplicates are already dropped."""
    order, same = sort_equal(prompt)
    starts = np.flatnonzero(same[1:] & ~same[:-1])
    return len(starts), [kept[order[start : start + 2]].tolist() for start in starts[:_EXAMPLES]]


def deal(group: np.ndarray, val_fraction: float, test_fraction: float, *, seed: int) -> np.ndarray:
    """Places in SPLITS for rows of the given groups.

    A group belongs to the test split if its seeded hash in [0, 1) is below `test_fraction`, and to validation if it is
    below the sum of both fractions. With at least three groups, no requested split stays empty: the groups with the
    lowest hashes fill it. With fewer groups, all rows are used for training.
    """
    keys = np.sort(group)  # np.unique hashes, which takes several times the memory
    keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))[: len(keys)]]
    if len(keys) < _FEWEST_GROUPS:
        return np.zeros(len(group), np.int8)
    chance = seeded(keys, seed)
    code = (chance < test_fraction + val_fraction).astype(np.int8) + (chance < test_fraction)
    code[np.argmax(chance)] = 0  # codes fall with the hash, so this matters only where nothing was left to train on
    if test_fraction > 0 and not (code == 2).any():
        code[np.argmin(chance)] = 2
    if val_fraction > 0 and not (code == 1).any():
        code[np.argsort(chance)[min(int((code == 2).sum()), len(keys) - 2)]] = 1
    del chance
    return np.concatenate([code[np.searchsorted(keys, part)] for part in np.array_split(group, 16)])
