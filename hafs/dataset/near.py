"""Near duplicates: rows whose MinHash signatures agree, found by locality-sensitive hashing and joined to clusters.

Signatures lie on disk as one byte for each permutation (b-bit MinHash, Li and Koenig 2010) and as one file of 64-bit
hashes for each band (Leskovec et al., Mining of Massive Datasets, 3.4), so a file of any length fits in little memory.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from hafs.dataset.content import PERMUTATIONS, signatures

_CHUNK = 1 << 17  # candidate pairs that are verified at once
_RECALL = 0.95


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, rows a band): the longest rows that still find 95 % of the pairs right at the threshold."""
    for rows in range(PERMUTATIONS, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return PERMUTATIONS, 1


class SignatureWriter:
    """Appends the signatures of chunks of rows to files in a folder; closed by leaving its `with` block."""

    def __init__(self, folder: Path, threshold: float) -> None:
        self.bands, self.rows = bands_for(threshold)
        self.bytes_file: BinaryIO = (folder / "signatures.bin").open("wb")
        self.band_files: list[BinaryIO] = [(folder / f"band-{band}.bin").open("wb") for band in range(self.bands)]

    def __enter__(self) -> "SignatureWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        for file in (self.bytes_file, *self.band_files):
            file.close()

    def append(self, texts: list[bytes]) -> None:
        """Add the signatures of N normalized texts, in order."""
        matrix = signatures(texts)
        self.bytes_file.write((matrix & 0xFF).astype(np.uint8).tobytes())
        multipliers = np.random.default_rng(7).integers(1, 2**63, self.rows, dtype=np.uint64) | np.uint64(1)
        for band, file in enumerate(self.band_files):
            part = matrix[:, band * self.rows : (band + 1) * self.rows].astype(np.uint64)
            file.write((part * multipliers).sum(axis=1, dtype=np.uint64).tobytes())


def near_clusters(folder: Path, kept: np.ndarray, *, threshold: float) -> np.ndarray:
    """Label the rows that are near duplicates of each other.

    Args:
        folder: Where a SignatureWriter wrote.
        kept: int64[N], the numbers of the rows to compare, in an order that depends on their content alone.
        threshold: Estimated Jaccard similarity from which two rows are joined.

    Returns:
        int64[N]: the place in `kept` of each row's cluster's first row.
    """
    labels = np.arange(len(kept))
    signature = np.memmap(folder / "signatures.bin", np.uint8, "r").reshape(-1, PERMUTATIONS) if len(kept) else None
    for band in range(bands_for(threshold)[0]):
        hashes = np.fromfile(folder / f"band-{band}.bin", np.uint64)[kept]
        left, right = _candidates(hashes)
        for first in range(0, len(left), _CHUNK):
            a, b = left[first : first + _CHUNK], right[first : first + _CHUNK]
            open_ = labels[a] != labels[b]
            a, b = a[open_], b[open_]
            agree = (signature[kept[a]] == signature[kept[b]]).mean(axis=1)  # type: ignore[index]
            similar = (agree - 1 / 256) / (255 / 256) >= threshold - 1e-9
            labels = join(labels, a[similar], b[similar])
    return labels


def _candidates(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs within equal hashes: each row with its bucket's first row and with the row before it."""
    order = np.argsort(hashes, kind="stable")
    same = np.concatenate(([False], hashes[order][1:] == hashes[order][:-1]))
    places = np.flatnonzero(same)
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))[places]
    second = first != places - 1
    left = np.concatenate((order[places - 1], order[first[second]]))
    return left, np.concatenate((order[places], order[places[second]]))


def join(labels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Merge the clusters of each pair; every label becomes the smallest place in its cluster."""
    labels = labels.copy()
    while (open_ := labels[left] != labels[right]).any():
        left, right = left[open_], right[open_]
        a, b = labels[left], labels[right]
        np.minimum.at(labels, np.maximum(a, b), np.minimum(a, b))
        while (labels != (deeper := labels[labels])).any():
            labels = deeper
    return labels
