"""The size of a dataset without a tokenizer: from an earlier report, or estimated from the files' bytes.

Each preparation leaves a note in the cache. The files' content and the dataset's options identify it, so a plan uses
the exact counts of an earlier validation or training, and an estimate if there is none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash

from hafs.core import durable, records
from hafs.core.durable import hash_file
from hafs.data import text_files
from hafs.data.dataset import Dataset
from hafs.data.sources import FileProblem, find_files, read_lines
from hafs.data.store import intact, load_array
from hafs.data.tables import SUFFIXES

BYTES_A_TOKEN = 3.0
"""Typical for English and code; 2.9 for the shipped assembly sample with SmolLM2's tokenizer."""
TEMPLATE_TOKENS = 30
"""Tokens that a chat template adds per sample."""
READ_BYTES = 4 << 20
"""How much of the files an estimate reads."""
_COUNTED = ("report.json", "train-length.npy", "train-rejected.npy")
_ANSWERS = ("output", "completion", "response", "answer", "text")


class Size(NamedTuple):
    """Samples and tokens."""

    lengths: np.ndarray
    """Tokens per training sample: all samples or a representative part."""
    train: int
    val: int
    supervised: float
    """Share of the tokens that the loss counts."""
    source: str
    """Where the numbers come from, for display."""
    rejected: np.ndarray
    """Tokens of the worse answer and its prompt, per sample; 0 for other rows."""


def decided_options(dataset: Dataset) -> dict[str, Any]:
    """The options that affect how rows are processed."""
    left_out = (
        "name",
        "path",
        "max_rejected",
        "syntax",
        "split",
        "revision",
        *(["kind"] if dataset.kind == "rows" else []),
    )
    return {key: value for key, value in asdict(dataset).items() if key not in left_out}


def files_of(dataset: Dataset) -> list[Path]:
    """The files of a dataset.

    Raises:
        DataError: A file does not exist or is empty, or the hub does not give it.
    """
    suffixes = text_files.SUFFIXES if dataset.kind == "text" else SUFFIXES
    return find_files(dataset.name, dataset.path, split=dataset.split, revision=dataset.revision, suffixes=suffixes)


def _note(cache: Path, dataset: Dataset, hashes: Mapping[str, str], seed: int) -> Path:
    facts = [decided_options(dataset), seed, sorted(hashes.values())]
    return cache / "sizes" / f"{xxhash.xxh3_64_hexdigest(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))}.json"


def remember(dataset: Dataset, hashes: Mapping[str, str], *, seed: int, tokenizer: str, folder: Path) -> None:
    """Note which folder of the cache holds this dataset's samples under a tokenizer."""
    path = _note(folder.parent, dataset, hashes, seed)
    known = _known(path)
    if known.get(tokenizer) == folder.name:
        return
    path.parent.mkdir(exist_ok=True)
    records.write_record(path, known | {tokenizer: folder.name})


def _known(path: Path) -> dict[str, str]:
    try:
        return records.read_record(path, unsealed="") or {}
    except durable.Damaged:
        records.say_damaged(path, records.CHECKSUM, "the next look at the data writes it again")
        return {}


def size(dataset: Dataset, *, seed: int, tokenizer: str, cache: Path) -> Size:
    """How much there is to train on.

    Args:
        dataset: The return value of `jsonl`.
        seed: The run's seed.
        tokenizer: `name_or_path` of the model's tokenizer.
        cache: The cache folder of `prepare`.

    Raises:
        DataError: A file does not exist or is empty.
    """
    files = files_of(dataset)
    hashes = {str(path): hash_file(path) for path in files}
    known = _known(_note(cache, dataset, hashes, seed))
    for name in [tokenizer, *known]:
        folder = cache / known.get(name, "-")
        if intact(folder, *_COUNTED):
            return _counted(folder, "" if name == tokenizer else ", with another model's tokenizer")
    return _estimated(dataset, files)


def _counted(folder: Path, with_what: str) -> Size:
    splits = orjson.loads((folder / "report.json").read_bytes())["splits"]
    train = splits["train"]
    return Size(
        lengths=np.array(load_array(folder / "train-length.npy")),
        train=train["samples"],
        val=splits["val"]["samples"],
        supervised=train["supervised"] / max(1, train["tokens"]),
        source=f"counted{with_what}",
        rejected=np.array(load_array(folder / "train-rejected.npy")),
    )


def _estimated(dataset: Dataset, files: list[Path]) -> Size:
    total, read = sum(path.stat().st_size for path in files), 0
    if dataset.kind == "text":
        return _estimated_text(dataset, total)
    lengths, answers = [], 0.0
    for line in _lines(files):
        read += len(line)
        texts, answer = _texts(line)
        if texts:
            lengths.append(texts / BYTES_A_TOKEN + TEMPLATE_TOKENS)
            answers += answer / BYTES_A_TOKEN
    kept = [min(n, dataset.max_length) for n in lengths if n <= dataset.max_length or dataset.overlong != "reject"]
    kept = kept or [float(dataset.max_length)]
    samples = len(kept) * max(1.0, total / max(1, read))
    samples = min(samples, dataset.max_samples or samples)
    return Size(
        lengths=np.array(kept, dtype=np.int64),
        train=max(1, round(samples * (1 - dataset.val_fraction - dataset.test_fraction))),
        val=round(samples * dataset.val_fraction),
        supervised=min(1.0, answers / max(1.0, sum(lengths))) or 0.5,
        source=f"estimated from {total / 1e6:,.1f} MB (hafs validate counts)",
        rejected=np.zeros(len(kept), dtype=np.int64),
    )


def _estimated_text(dataset: Dataset, total: int) -> Size:
    samples = max(1, round(total / BYTES_A_TOKEN / dataset.max_length))
    samples = min(samples, dataset.max_samples or samples)
    held_out = dataset.val_fraction + dataset.test_fraction
    return Size(
        lengths=np.full(1, dataset.max_length, np.int64), train=max(1, round(samples * (1 - held_out))),
        val=round(samples * dataset.val_fraction), supervised=1.0,
        source=f"estimated from {total / 1e6:,.1f} MB of text (hafs validate counts)", rejected=np.zeros(1, np.int64),
    )  # fmt: skip


def _lines(files: list[Path]) -> Iterator[bytes]:
    left = READ_BYTES
    for path in files:
        try:
            for line in read_lines(path, []):
                yield line.raw or b""
                left -= line.size
                if left <= 0:
                    return
        except FileProblem:
            continue  # training says what is wrong with it


def _texts(line: bytes) -> tuple[int, int]:
    """Bytes of all texts of a row, and bytes of its answers."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return 0, 0
    if not isinstance(row, dict):
        return 0, 0
    turns = row.get("messages") or row.get("conversations")
    if isinstance(turns, list):
        said = [turn for turn in turns if isinstance(turn, dict)]
        texts = [(str(t.get("content") or t.get("value") or ""), t.get("role") or t.get("from")) for t in said]
        return sum(len(text.encode()) for text, _ in texts), sum(
            len(text.encode()) for text, role in texts if role in ("assistant", "gpt")
        )
    texts = {key: len(value.encode()) for key, value in row.items() if isinstance(value, str)}
    return sum(texts.values()), max((texts.get(key, 0) for key in _ANSWERS), default=0)
