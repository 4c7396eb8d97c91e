"""Pass one: read, check and tokenize rows in chunks, and write the results to disk immediately.

The main thread reads and checks a chunk while a worker thread tokenizes the previous one (the tokenizer releases the
GIL). Memory use does not grow with the file.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash

from hafs.chat import Rendered, count_tokens
from hafs.data.content import RowKeys, keys_of
from hafs.data.dataset import Dataset
from hafs.data.decode import Reject, decode
from hafs.data.formats import Parsed, parse
from hafs.data.lengths import Fitted
from hafs.data.near_duplicates import SignatureWriter
from hafs.data.outcomes import IngestCounts, PairFitted, outcomes, pair_outcomes
from hafs.data.sources import MAX_LINE_BYTES, FileProblem, Line, read_lines
from hafs.data.store import ArrayWriter, Columns
from hafs.data.text_files import text_lines

_CHUNK_ROWS, _CHUNK_BYTES = 1000, 1 << 19
_EXCERPT = 160  # characters of a rejected row that rejected.jsonl repeats
_EXAMPLES = 3  # for each reason
_FILES_TO_GROUP = 10  # from so many text files on, a file is in one split as a whole
ROW_COLUMNS = {"content": "<u8", "exact": "<u8", "opening": "<u8", "template": "<u8", "prompt": "<u8",
               "file": "<u2", "line": "<u4", "spool": "<i8", "spool_size": "<i4"}  # fmt: skip
SAMPLE_COLUMNS = {"row": "<i4", "id": "<u8", "start": "<i8", "length": "<i4", "supervised": "<i4",
                  "spool": "<i8", "spool_size": "<i4", "rejected": "<i4", "sampled": "<i1"}  # fmt: skip

NO_TOKENS = Rendered([], [])


class RowLocation(NamedTuple):
    """File and line of a row."""

    file: int
    line: int


class GoodRow(NamedTuple):
    """A row that passed all checks that need no tokenizer."""

    place: RowLocation
    parsed: Parsed
    keys: RowKeys
    said: bytes


class RejectedRow(NamedTuple):
    """A row that failed a check."""

    place: RowLocation
    reject: Reject
    excerpt: str


@dataclass
class Chunk:
    """A chunk of rows for the worker thread."""

    good: list[GoodRow] = field(default_factory=list)
    bad: list[RejectedRow] = field(default_factory=list)
    size: int = 0  # bytes

    @property
    def full(self) -> bool:
        """Whether the chunk is large enough for a tokenizer call."""
        return len(self.good) + len(self.bad) >= _CHUNK_ROWS or self.size >= _CHUNK_BYTES


class Ingest:
    """Writes rows, samples, tokens, conversations and rejected rows into `folder`; call `run` once."""

    def __init__(self, folder: Path, dataset: Dataset, tokenizer: Any, files: list[Path]) -> None:
        self.folder, self.dataset, self.tokenizer, self.files = folder, dataset, tokenizer, files
        self.counts = IngestCounts()
        self.rows = Columns(folder, "rows", ROW_COLUMNS)
        self.samples = Columns(folder, "samples", SAMPLE_COLUMNS)
        self.row_count = self.spool_size = 0

    def run(self) -> IngestCounts:
        """Process all files."""
        folder = self.folder
        with (
            (folder / "conversations.bin").open("wb") as self.spool,
            (folder / "rejected.jsonl").open("wb") as self.rejected,
            SignatureWriter(folder, self.dataset.near_duplicate_threshold) as self.signatures,
            ThreadPoolExecutor(1) as worker,
        ):
            self.tokens, self.flags = (
                ArrayWriter(folder / "tokens.npy", "<i4"),
                ArrayWriter(folder / "supervised.npy", "?"),
            )
            busy: Future[None] | None = None
            for chunk in self._chunks():
                if busy:
                    busy.result()
                busy = worker.submit(self._write, chunk)
            if busy:
                busy.result()
            for table in (self.tokens, self.flags, self.rows, self.samples):
                table.close()
        return self.counts

    # reading and checking: the main thread ----------------------------------------------------------------------------

    def _chunks(self) -> Iterator[Chunk]:
        chunk = Chunk()
        for number, path in enumerate(self.files):
            for row in self._rows(number, path):
                (chunk.good if isinstance(row, GoodRow) else chunk.bad).append(row)  # type: ignore[arg-type]
                chunk.size += len(row.said) if isinstance(row, GoodRow) else 0
                if chunk.full:
                    yield chunk
                    chunk = Chunk()
        yield chunk

    def _rows(self, number: int, path: Path) -> Iterator[GoodRow | RejectedRow]:
        line_number = 0
        try:
            for line in self._lines(path):
                line_number = line.number
                if line.raw is None:
                    too_long = f"the line has {line.size / 1e6:.1f} MB, expected at most {MAX_LINE_BYTES >> 20} MB"
                    yield self._bad(RowLocation(number, line_number), Reject("line_too_long", too_long), b"")
                elif line.raw and not line.raw.isspace():
                    yield self._checked(RowLocation(number, line_number), line.raw, line.ended)
                else:
                    self.counts.blank_lines += 1
        except FileProblem as problem:
            self.counts.file_problems.append(f"{path}: {problem.message}")
            yield self._bad(RowLocation(number, line_number + 1), Reject(problem.reason, problem.message), b"")

    def _lines(self, path: Path) -> Iterator[Line]:
        if self.dataset.kind == "rows":
            return read_lines(path, self.counts.notes)
        count = partial(count_tokens, self.tokenizer)
        return text_lines(path, count, self.dataset.max_length - 1, group=len(self.files) >= _FILES_TO_GROUP)

    def _checked(self, place: RowLocation, raw: bytes, ended: bool) -> GoodRow | RejectedRow:
        row = decode(raw, ended=ended)
        parsed = row if isinstance(row, Reject) else self._parse(row)
        if isinstance(parsed, Reject):
            return self._bad(place, parsed, raw)
        self.counts.rows += 1
        if parsed.unused:
            self.counts.count_unused(parsed.unused)
        keys, said = keys_of(parsed.conversation, parsed.metadata.get("split_group"), parsed.rejected)
        self.counts.count_markup(said)
        return GoodRow(place, parsed, keys, said)

    def _parse(self, row: dict[str, Any]) -> Parsed | Reject:
        options = self.dataset
        return parse(row, system=options.system, columns=options.columns, reasoning=options.reasoning == "keep")

    def _bad(self, place: RowLocation, reject: Reject, raw: bytes) -> RejectedRow:
        self.counts.rows += 1
        return RejectedRow(place, reject, raw[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT])

    # tokenizing and writing: the worker thread ------------------------------------------------------------------------

    def _write(self, chunk: Chunk) -> None:
        kept: list[tuple[GoodRow, Fitted | PairFitted]] = []
        for good, outcome in zip(chunk.good, self._outcomes(chunk.good), strict=True):
            if isinstance(outcome, Reject):
                excerpt = good.said[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT]
                chunk.bad.append(RejectedRow(good.place, outcome, excerpt))
            else:
                kept.append((good, outcome))
        self._write_bad(sorted(chunk.bad, key=lambda bad: bad.place))
        if kept:
            self._write_good(kept)

    def _outcomes(self, rows: list[GoodRow]) -> list[Fitted | PairFitted | Reject]:
        """The samples of each row, or why there are none, in the rows' order."""
        pairs = [(r.parsed.conversation, r.parsed.rejected) for r in rows if r.parsed.rejected is not None]
        plain = [r.parsed.conversation for r in rows if r.parsed.rejected is None]
        of_pairs = iter(pair_outcomes(self.dataset, self.tokenizer, pairs, self.counts))
        others = iter(outcomes(self.dataset, self.tokenizer, plain, self.counts))
        return [next(others if row.parsed.rejected is None else of_pairs) for row in rows]

    def _write_bad(self, rows: list[RejectedRow]) -> None:
        for (file, line), (reason, message), excerpt in rows:
            entry = {
                "file": str(self.files[file]),
                "line": line,
                "reason": reason,
                "message": message,
                "excerpt": excerpt,
            }
            self.rejected.write(orjson.dumps(entry) + b"\n")
            self.counts.rejected[reason] += 1
            if len(examples := self.counts.examples.setdefault(reason, [])) < _EXAMPLES:
                examples.append(entry)

    def _write_good(self, kept: list[tuple[GoodRow, Fitted | PairFitted]]) -> None:
        rows, samples, tokens, flags = [], [], [], []
        start = self.tokens.length
        for good, fitted in kept:
            self.counts.formats[good.parsed.format] += 1
            for piece, (conversation, done) in enumerate(fitted.samples):
                spool, size = self.spool_size, self._spool(conversation, good.parsed)
                if piece == 0:
                    rows.append((*good.keys, *good.place, spool, size))
                name = (
                    xxhash.xxh3_64_intdigest(b"%016x/%d" % (good.keys.content, piece)) if piece else good.keys.content
                )
                worse = fitted.rejected if isinstance(fitted, PairFitted) else NO_TOKENS
                sampled = isinstance(good.parsed.metadata.get("origin"), dict)
                sizes = len(done.tokens), sum(done.supervised), spool, size, len(worse.tokens), sampled
                samples.append((self.row_count, name, start, *sizes))
                tokens += [*done.tokens, *worse.tokens]
                flags += [*done.supervised, *worse.supervised]
                start += len(done.tokens) + len(worse.tokens)
            self.row_count += 1
        self.rows.append(rows)
        self.samples.append(samples)
        self.tokens.append(np.fromiter(tokens, np.int32, len(tokens)))
        self.flags.append(np.fromiter(flags, np.bool_, len(flags)))
        self.signatures.append([good.said for good, _ in kept])

    def _spool(self, conversation: Any, parsed: Parsed) -> int:
        entry = {"messages": [message.as_list() for message in conversation], "metadata": parsed.metadata}
        if parsed.rejected is not None:
            entry["rejected"] = [message.as_list() for message in parsed.rejected]
        written = self.spool.write(orjson.dumps(entry))
        self.spool_size += written
        return written
