"""How large a dataset is, without a tokenizer: from the report of an earlier look at it, else estimated from its bytes.

Every look leaves a note in the cache, found again by the files' content and the options that decide about samples; so
a plan counts what validation or training counted, and is as quick without them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash

from hafs.core import durable
from hafs.core.durable import hash_file
from hafs.data.dataset import Dataset
from hafs.data.sources import FileProblem, find_files, read_lines
from hafs.data.store import load_array, unharmed

BYTES_A_TOKEN = 3.0
"""Of English and code under today's tokenizers; 2.9 for the shipped assembler samples under SmolLM2's."""
TEMPLATE_TOKENS = 30
"""What a chat template adds to a sample."""
READ_BYTES = 4 << 20
"""So much of the files is read for an estimate."""
_COUNTED = ("report.json", "train-length.npy")
_ANSWERS = ("output", "completion", "response", "answer", "text")


class Size(NamedTuple):
    """Samples and tokens."""

    lengths: np.ndarray
    """Tokens of training samples, all of them or enough to stand for all."""
    train: int
    val: int
    supervised: float
    """Share of the tokens that the loss counts."""
    source: str
    """Where the figures come from, for people."""


def decided_options(dataset: Dataset) -> dict[str, Any]:
    """The options that decide what becomes of a row."""
    return {key: value for key, value in asdict(dataset).items() if key not in ("name", "path", "max_rejected")}


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
    durable.write_record(path, known | {tokenizer: folder.name})


def _known(path: Path) -> dict[str, str]:
    try:
        return durable.read_record(path) or {}
    except durable.Damaged:
        durable.say_damaged(path, durable.CHECKSUM, "the next look at the data writes it again")
        return {}


def size(dataset: Dataset, *, seed: int, tokenizer: str, cache: Path) -> Size:
    """How much there is to train on.

    Args:
        dataset: What `jsonl` described.
        seed: Of the run.
        tokenizer: `name_or_path` of the model's tokenizer.
        cache: Where `prepare` keeps its work.

    Raises:
        DataError: No such file, or nothing in it.
    """
    files = find_files(dataset.name, dataset.path)
    hashes = {str(path): hash_file(path) for path in files}
    known = _known(_note(cache, dataset, hashes, seed))
    for name in [tokenizer, *known]:
        folder = cache / known.get(name, "-")
        if unharmed(folder, *_COUNTED):
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
    )


def _estimated(dataset: Dataset, files: list[Path]) -> Size:
    total, read = sum(path.stat().st_size for path in files), 0
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
    )


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
    """Bytes of a row's texts, and of those that are answers."""
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
