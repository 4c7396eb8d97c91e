"""Find the files of `dataset.path` and read their lines, one line of bounded size at a time."""

import csv
import difflib
import glob
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hafs.core.errors import DataError
from hafs.data.hub import PREFIX, hub_files
from hafs.data.tables import NO_DATA, SUFFIXES, decompressed, rows_of

MAX_LINE_BYTES = 8 << 20
_READ_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line without its newline; `raw` is None if the line is longer than MAX_LINE_BYTES."""

    number: int
    raw: bytes | None
    size: int  # bytes
    ended: bool  # a newline followed


class FileProblem(Exception):
    """A file that is not JSONL at all: (reason code, message)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def find_files(
    name: str, patterns: tuple[str, ...], *, split: str = "train", revision: str | None = None,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> list[Path]:  # fmt: skip
    """The files of paths, globs and datasets of the hub, each once, in the given order.

    Args:
        name: Name of the dataset in messages.
        patterns: Paths, globs, or `hf://owner/name`.
        split: Of datasets of the hub.
        revision: Of datasets of the hub; None: their main branch.
        suffixes: Endings of the files that are taken from folders.

    Raises:
        DataError: A path does not exist, is a folder or is an empty file, or a glob matches no file.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        files = hub_files(pattern, split=split, revision=revision) if pattern.startswith(PREFIX) else None
        for path in files or _expand(name, pattern, suffixes):
            found.setdefault(path.resolve(), path)
    if not found:
        raise DataError(f"dataset {name!r} names no file", hint="set dataset.path=my.jsonl")
    empty = [path for path in found.values() if path.stat().st_size == 0]
    if empty and (len(empty) == len(found) or any(str(path) in patterns for path in empty)):
        raise DataError(f"dataset {name!r}: {str(empty[0])!r} is empty (0 bytes)", hint="was it written completely?")
    return [path for path in found.values() if path not in empty]


def _expand(name: str, pattern: str, suffixes: tuple[str, ...]) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = _in_folder(path) if suffixes == SUFFIXES else _below(path, suffixes)
        if files:
            return files
        ends = ", ".join(suffixes[:9])
        raise DataError(f"dataset {name!r}: the folder {pattern!r} holds no file that ends in {ends}",
                        hint=f"dataset.path='{pattern.rstrip('/')}/*{suffixes[0]}'")  # fmt: skip
    if glob.has_magic(pattern):
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 (Path.glob wants a relative pattern)
        files = [match for match in sorted(map(Path, matches)) if match.is_file()]
        if files:
            return files
        raise DataError(f"dataset {name!r}: no file matches {pattern!r}", hint=_rows_in(path.parent))
    raise DataError(f"dataset {name!r}: no file {pattern!r}", hint=_neighbours(path))


def _below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """All files with these endings in a folder and its folders, hidden ones left out."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _in_folder(folder: Path) -> list[Path]:
    """The data files of a folder; if it has none, those of its training split."""
    for place, start in ((folder, ""), (folder / "train", ""), (folder / "data", "train")):
        listed = sorted(place.iterdir()) if place.is_dir() else []
        files = [each for each in listed if each.is_file() and each.name.startswith(start)]
        if found := [each for each in files if each.name.endswith(SUFFIXES) and each.name not in NO_DATA]:
            return found
    return []


def _neighbours(path: Path) -> str:
    folder = path.parent
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {str(folder / close[0])!r}?"
    return _rows_in(folder)


def _rows_in(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r} (the current folder is {Path.cwd().name!r})"
    rows = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(SUFFIXES))
    return f"{str(folder)!r} holds {', '.join(rows[:5]) or 'no .jsonl file'}"


def read_lines(path: Path, notes: list[str]) -> Iterator[Line]:
    """Lines of a plain, gzip- or Zstandard-compressed file, or rows of a table; numbered from 1.

    Args:
        path: The file.
        notes: Tolerated irregularities are appended to this list.

    Raises:
        FileProblem: UTF-16 or UTF-32, a damaged or truncated file, or a file that cannot be read.
    """
    try:
        rows = rows_of(path)
        if rows is not None:
            yield from (_row_line(number, row) for number, row in enumerate(rows, 1))
            return
    except (ValueError, OSError, csv.Error) as error:  # pyarrow's errors are ValueErrors and OSErrors
        raise FileProblem("damaged_file", f"the file cannot be read: {str(error).splitlines()[0]}") from error
    with path.open("rb") as raw:
        head = raw.read(4)
        raw.seek(0)
        file: BinaryIO = gzip.GzipFile(fileobj=raw) if head[:2] == b"\x1f\x8b" else raw  # type: ignore[assignment]
        file = decompressed(path) if head == b"\x28\xb5\x2f\xfd" else file
        try:
            yield from _lines(file, path, notes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileProblem("damaged_gzip", f"the gzip file is damaged or cut off: {error}") from error


def _row_line(number: int, row: bytes) -> Line:
    return Line(number, row if len(row) <= MAX_LINE_BYTES else None, len(row), True)


def _lines(file: BinaryIO, path: Path, notes: list[str]) -> Iterator[Line]:
    block = file.read(_READ_BYTES)
    refuse_wide(block[:256])
    if block.startswith(_BOM):
        notes.append(f"{path.name}: starts with a UTF-8 byte order mark, ignored")
        block = block[len(_BOM) :]
    number, held, size = 1, [], 0  # `held` are the blocks of an unfinished line
    while block:
        *whole, rest = block.split(b"\n")
        for piece in whole:
            size += len(piece)
            yield Line(number, _joined(held, piece, size), size, True)
            number, held, size = number + 1, [], 0
        size += len(rest)
        held = [*held, rest] if size <= MAX_LINE_BYTES else []
        block = file.read(_READ_BYTES)
    if size:
        yield Line(number, _joined(held, b"", size), size, False)


def _joined(held: list[bytes], piece: bytes, size: int) -> bytes | None:
    if size > MAX_LINE_BYTES:
        return None
    return (b"".join(held) + piece if held else piece).removesuffix(b"\r")


def refuse_wide(head: bytes) -> None:
    """Reject text that is UTF-16 or UTF-32.

    Raises:
        FileProblem: It is.
    """
    marked = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    halves = (head[0::2], head[1::2])
    if marked or (len(head) >= 8 and any(half.count(0) > 0.6 * len(half) for half in halves)):
        raise FileProblem(
            "utf16", "the file is UTF-16 or UTF-32, expected UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)"
        )
