"""Read rows from files that are not JSON lines: Parquet, Arrow, CSV, JSON arrays, and Zstandard-compressed files."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from hafs.config.extras import how_to_install
from hafs.core.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".csv", ".tsv", ".parquet", ".arrow")
"""Endings of data files, by which the files of a folder are chosen."""
NO_DATA = ("dataset_info.json", "state.json", "dataset_dict.json")
"""Files that `datasets` writes beside the data."""
_BATCH = 1000  # rows per read
_DELIMITERS = ",;\t|"  # the one that the header has most of; a comma if it has none
_MOST_BYTES = 1 << 30  # of a JSON array, which is parsed as a whole


def rows_of(path: Path) -> Iterator[bytes] | None:
    """The rows of a table as JSON; None if the file consists of JSON lines.

    Raises:
        DataError: A package that reads this file is not installed.
        ValueError: The file is damaged.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head[:4] == b"PAR1":
        return _parquet(path)
    if head[:6] == b"ARROW1" or path.suffix == ".arrow":
        return _arrow(path, stream=head[:6] != b"ARROW1")
    if path.suffix in (".csv", ".tsv"):
        return _csv(path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return _array(path)
    return None


def decompressed(path: Path) -> BinaryIO:
    """A Zstandard-compressed file as a file object.

    Raises:
        DataError: pyarrow is not installed.
    """
    pyarrow = _pyarrow(path)
    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        fact = f"{str(path)!r} needs pyarrow, which is not installed"
        raise DataError(fact, hint=how_to_install("pyarrow")) from error
    return pyarrow


def _parquet(path: Path) -> Iterator[bytes]:
    _pyarrow(path)
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as table:
        for batch in table.iter_batches(_BATCH):
            yield from map(_dumped, batch.to_pylist())


def _arrow(path: Path, *, stream: bool) -> Iterator[bytes]:
    pyarrow = _pyarrow(path)
    with pyarrow.OSFile(str(path)) as file:
        if stream:
            batches: Iterator[Any] = iter(pyarrow.ipc.open_stream(file))
        else:
            reader = pyarrow.ipc.open_file(file)
            batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
        for batch in batches:
            yield from map(_dumped, batch.to_pylist())


def _csv(path: Path) -> Iterator[bytes]:
    csv.field_size_limit(1 << 27)
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        for row in csv.DictReader(
            file, delimiter="\t" if path.suffix == ".tsv" else max(_DELIMITERS, key=header.count)
        ):
            yield _dumped({str(key): value for key, value in row.items() if key is not None})


def _array(path: Path) -> Iterator[bytes] | None:
    """The rows of a JSON array, whatever the file is called; None for lines that are lists."""
    named = path.suffix == ".json"
    if path.stat().st_size > _MOST_BYTES:
        if not named:
            return None
        raise ValueError(f"a JSON array of more than {_MOST_BYTES >> 30} GiB; write one object per line")
    try:
        rows = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        if not named:
            return None
        raise
    return map(orjson.dumps, rows)


def _dumped(row: Mapping[str, Any]) -> bytes:
    """A row as JSON; columns fill objects with nulls for keys that other rows have, so nulls are left out."""
    return orjson.dumps(_without_nulls(row), default=str)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
