"""Near duplicates: rows with similar MinHash signatures, found by locality-sensitive hashing and joined to clusters.

Signatures are stored on disk as one byte per permutation (b-bit MinHash, Li and Koenig 2010) and as one file of 32-bit
hashes per band (Leskovec et al., Mining of Massive Datasets, 3.4), so memory use does not depend on the file's length.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from hafs.data.content import PERMUTATIONS, signatures

_CHUNK = 1 << 17  # candidate pairs per verification step
_BLOCK = 1 << 16  # signatures per read
_RECALL = 0.95


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, rows per band): the most rows per band that still find 95 % of the pairs at the threshold."""
    for rows in range(PERMUTATIONS, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return PERMUTATIONS, 1


class SignatureWriter:
    """Appends signatures of rows to files in a folder; a context manager that closes them."""

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
            mixed = (part * multipliers).sum(axis=1, dtype=np.uint64)
            file.write((mixed >> np.uint64(32)).astype(np.uint32).tobytes())


def near_clusters(folder: Path, kept: np.ndarray, *, threshold: float) -> np.ndarray:
    """Label the rows that are near duplicates of each other.

    Args:
        folder: Where a SignatureWriter wrote.
        kept: int32[N], the rows to compare, in an order that depends only on their content.
        threshold: Minimum estimated Jaccard similarity to join two rows.

    Returns:
        int32[N]: the place in `kept` of each row's cluster's first row.
    """
    labels = np.arange(len(kept), dtype=np.int32)
    for band in range(bands_for(threshold)[0]):
        left, right = _candidates(np.fromfile(folder / f"band-{band}.bin", np.uint32)[kept])
        for first in range(0, len(left), _CHUNK):
            a, b = left[first : first + _CHUNK], right[first : first + _CHUNK]
            open_ = labels[a] != labels[b]
            a, b = a[open_], b[open_]
            left_bytes, right_bytes = (_gather(folder / "signatures.bin", kept[rows]) for rows in (a, b))
            agree = (left_bytes == right_bytes).mean(axis=1)
            similar = (agree - 1 / 256) / (255 / 256) >= threshold - 1e-9
            labels = join(labels, a[similar], b[similar])
    return labels


def _candidates(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidate pairs: each row with the first row of its bucket and with the previous one."""
    order, same = sort_equal(hashes)
    alike = same | np.concatenate((same[1:], [False]))[: len(order)]
    order, same = order[alike], same[alike]
    places = np.flatnonzero(same)
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))[places]
    second = first != places - 1
    left = np.concatenate((order[places - 1], order[first[second]]))
    return left, np.concatenate((order[places], order[places[second]]))


def sort_equal(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int32[N] places ordered by value, bool[N] whether each value equals the previous one)."""
    order = np.argsort(values, kind="stable").astype(np.int32)
    ordered = values[order]
    same = np.zeros(len(order), bool)
    np.equal(ordered[1:], ordered[:-1], out=same[1:])
    return order, same


def _gather(path: Path, rows: np.ndarray) -> np.ndarray:
    """Signatures of int32[N] rows; the file is read sequentially, because a memory map would count as memory."""
    found = np.empty((len(rows), PERMUTATIONS), np.uint8)
    order = np.argsort(rows, kind="stable")
    borders = np.arange(0, path.stat().st_size // PERMUTATIONS + _BLOCK, _BLOCK)
    for first, start, stop in zip(borders, *_spans(rows[order], borders), strict=False):
        if start < stop:
            block = np.fromfile(path, np.uint8, _BLOCK * PERMUTATIONS, offset=int(first) * PERMUTATIONS)
            mine = order[start:stop]
            found[mine] = block.reshape(-1, PERMUTATIONS)[rows[mine] - first]
    return found


def _spans(ordered: np.ndarray, borders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places = np.searchsorted(ordered, borders)
    return places[:-1], places[1:]


def join(labels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Merge the clusters of each pair; a cluster's label is its smallest place."""
    labels = labels.copy()
    while (open_ := labels[left] != labels[right]).any():
        left, right = left[open_], right[open_]
        a, b = labels[left], labels[right]
        np.minimum.at(labels, np.maximum(a, b), np.minimum(a, b))
        while (labels != (deeper := labels[labels])).any():
            labels = deeper
    return labels
