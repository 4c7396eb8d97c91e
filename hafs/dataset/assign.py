"""Pass two: duplicates are dropped, rows that belong together are grouped, and groups are dealt to the splits.

Everything here is a function of content and seed: not of row order, of file names, or of how many files there are. A
group's split comes from the hash of its key, so adding rows moves no old ones (unless they join two groups).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hafs.dataset import Dataset
from hafs.dataset.content import seeded
from hafs.dataset.near import join, near_clusters
from hafs.dataset.store import Columns

SPLITS = ("train", "val", "test")
_FEWEST_GROUPS = 3
_EXAMPLES = 5


@dataclass(kw_only=True)
class Assignment:
    """Which row is in which split; rows are numbered as pass one wrote them."""

    rows: np.ndarray  # int64[N], kept rows, ordered by content
    split: np.ndarray  # int8[N], places in SPLITS
    group: np.ndarray  # uint64[N], key of each row's group
    exact_duplicates: int
    near_duplicates: int  # rows that repeat another nearly
    near_dropped: int
    conflicts: int  # prompts with more than one answer
    conflict_rows: list[list[int]]  # examples: rows with the same prompt


def assign(folder: Path, rows: Columns, samples: Columns, dataset: Dataset, *, seed: int) -> Assignment:
    """Deduplicate, group and split the rows that pass one wrote into `folder`."""
    kept, duplicates = _unique(rows)
    labels = near_clusters(folder, kept, threshold=dataset.near_duplicate_threshold)
    near = len(labels) - len(np.unique(labels))
    if dataset.drop_near_duplicates:
        kept = kept[labels == np.arange(len(labels))]
        labels = np.arange(len(kept))
    opening = rows.load("opening")[kept]
    group = _groups(labels, opening)
    if dataset.max_samples is not None:
        chosen = _choose(kept, rows.load("content")[kept], samples.load("row"), dataset.max_samples, seed=seed)
        kept, group = kept[chosen], group[chosen]
    conflicts, examples = _conflicts(rows.load("prompt")[kept], kept)
    split = deal(group, dataset.val_fraction, dataset.test_fraction, seed=seed)
    return Assignment(
        rows=kept, split=split, group=group, exact_duplicates=duplicates, near_duplicates=near,
        near_dropped=near if dataset.drop_near_duplicates else 0, conflicts=conflicts, conflict_rows=examples,
    )  # fmt: skip


def _unique(rows: Columns) -> tuple[np.ndarray, int]:
    """Row numbers ordered by content, one for each content: the one whose exact bytes hash lowest."""
    content = rows.load("content")
    order = np.lexsort((rows.load("exact"), content))
    content = content[order]
    first = np.concatenate(([True], content[1:] != content[:-1])) if len(content) else np.zeros(0, bool)
    return order[first], int(len(order) - first.sum())


def _groups(labels: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """The key of each row's group: near duplicates and rows with the same opening are together."""
    order = np.argsort(opening, kind="stable")
    same = opening[order][1:] == opening[order][:-1]
    labels = join(labels, order[:-1][same], order[1:][same])
    key = np.full(len(labels), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(key, labels, opening)
    return key[labels]


def _choose(kept: np.ndarray, content: np.ndarray, sample_rows: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """Places in `kept`, ascending, of the rows of lowest seeded hash that together give at most `most` samples."""
    order = np.argsort(seeded(content, seed + 1), kind="stable")
    total = np.cumsum(np.bincount(sample_rows, minlength=int(kept.max(initial=-1)) + 1)[kept[order]])
    return np.sort(order[total <= most])


def _conflicts(prompt: np.ndarray, kept: np.ndarray) -> tuple[int, list[list[int]]]:
    """How many prompts have several answers, and rows of the first few; exact duplicates are gone already."""
    order = np.argsort(prompt, kind="stable")
    same = prompt[order][1:] == prompt[order][:-1]
    starts = np.flatnonzero(same & ~np.concatenate(([False], same[:-1]))) if len(same) else np.zeros(0, np.int64)
    return len(starts), [kept[order[start : start + 2]].tolist() for start in starts[:_EXAMPLES]]


def deal(group: np.ndarray, val_fraction: float, test_fraction: float, *, seed: int) -> np.ndarray:
    """Places in SPLITS for rows of the given groups.

    A group is in the test split where its seeded hash in [0, 1) is below `test_fraction`, in validation below the sum.
    With at least three groups no split that was asked for stays empty: the groups of the lowest hash fill it. With
    fewer, everything is for training.
    """
    keys = np.unique(group)
    if len(keys) < _FEWEST_GROUPS:
        return np.zeros(len(group), np.int8)
    chance = seeded(keys, seed)
    code = np.where(chance < test_fraction, 2, np.where(chance < test_fraction + val_fraction, 1, 0)).astype(np.int8)
    ranked = np.argsort(chance, kind="stable")
    code[ranked[-1]] = 0  # codes fall with the hash, so this matters only where nothing was left to train on
    if test_fraction > 0 and not (code == 2).any():
        code[ranked[0]] = 2
    if val_fraction > 0 and not (code == 1).any():
        code[ranked[min(int((code == 2).sum()), len(keys) - 2)]] = 1
    return code[np.searchsorted(keys, group)]
