"""From rows to prepared splits: loaded from the cache, or built by the two passes (`ingest`, `assign`)."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xxhash

from hafs.chat import template_fingerprint
from hafs.core import records
from hafs.core.durable import hash_file
from hafs.core.errors import DataError
from hafs.data.assign import SPLITS, Assignment, assign
from hafs.data.dataset import Dataset
from hafs.data.ingest import Ingest
from hafs.data.outcomes import IngestCounts
from hafs.data.report import DataReport, SplitSize, histogram, percentiles
from hafs.data.samples import COLUMNS, FAMILY, Split, read_entry
from hafs.data.size import decided_options, files_of, remember
from hafs.data.store import cached, load_array, release_memory

VERSION = 5  # what decides the training data; a change makes every recorded fingerprint differ
_LAYOUT = 5  # format of the cache and reading of rows; old entries are ignored after a change
_VERSION_OF_01 = 2  # in release 0.1
_SHOWN_TOKENS = 400  # preferred maximum length of the sample in the report


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A dataset that is ready to train on."""

    splits: dict[str, Split]
    """train, val and test."""
    report: DataReport
    fingerprint: str
    """Hash of everything that determines the training data: content, tokenizer, template, options, seed."""
    file_hashes: dict[str, str]
    """XXH3-128 and size of each source file."""

    def fingerprints(self, folder: Path) -> frozenset[str]:
        """Fingerprints by which a run may have recorded this data: the current one and, until 0.3, that of release 0.1.

        The latter counts only if the run's data report has the same samples and tokens in every split.

        Args:
            folder: The run's, or that of a registered model.
        """
        earlier = self.report.fingerprint_of_01
        try:
            counted = (records.read_record(folder / "data_report.json", unsealed="") or {}).get("splits")
        except records.Damaged:
            counted = None
        same = earlier is not None and counted == {name: asdict(size) for name, size in self.report.splits.items()}
        return frozenset({self.fingerprint, *([earlier] if earlier and same else [])})


def prepare(dataset: Dataset, tokenizer: Any, *, seed: int, cache: Path) -> Prepared:
    """Check, deduplicate, tokenize and split the rows, or load the result from the cache.

    Args:
        dataset: The return value of `jsonl`.
        tokenizer: The transformers tokenizer; its chat template renders the samples.
        seed: Determines, together with the content, the split of each row.
        cache: Folder for finished work; processes can share it, and it can be deleted.

    Raises:
        DataError: A file does not exist, no row is usable, or more rows are rejected than `max_rejected` allows.
    """
    prepared = open_prepared(dataset, tokenizer, seed=seed, cache=Path(cache))
    prepared.report.raise_refusal()
    return prepared


def report(dataset: Dataset, tokenizer: Any, *, seed: int, cache: Path) -> DataReport:
    """Do the work of `prepare` and return its report; its field `refusal` says why training would refuse the data.

    Raises:
        DataError: A file does not exist or is empty.
    """
    return open_prepared(dataset, tokenizer, seed=seed, cache=Path(cache)).report


def open_prepared(dataset: Dataset, tokenizer: Any, *, seed: int, cache: Path) -> Prepared:
    """Load the prepared data from the cache or build it; the report says whether training should refuse it."""
    files = files_of(dataset)
    hashes = {str(path): hash_file(path) for path in files}
    decided = [VERSION, template_fingerprint(tokenizer), decided_options(dataset), seed]
    by_01 = _decided_by_01(decided)
    key = xxhash.xxh3_128_hexdigest(orjson.dumps([_LAYOUT, decided, list(hashes.items())], option=orjson.OPT_SORT_KEYS))
    folder = cached(cache, key, lambda draft: _build(draft, dataset, tokenizer, hashes, seed, repr(decided), by_01))
    remember(dataset, hashes, seed=seed, tokenizer=str(tokenizer.name_or_path), folder=folder)
    report = DataReport.read(folder / "report.json", folder / "rejected.jsonl")
    refusal = report.judge(dataset.name, dataset.max_rejected)
    report = replace(report, name=dataset.name, refusal=refusal, notes=[*report.notes, *report.thin()])
    splits = {name: Split(folder, name) for name in SPLITS}
    return Prepared(splits=splits, report=report, fingerprint=report.fingerprint, file_hashes=hashes)


def _decided_by_01(decided: list[Any]) -> str | None:
    """What release 0.1 hashed instead of `decided`; None if an option was used that it did not have."""
    _, template, options, seed = decided
    if options["columns"] is not None or options["reasoning"] != "keep" or "kind" in options:
        return None
    known = {key: value for key, value in options.items() if key not in ("columns", "reasoning")}
    return repr([_VERSION_OF_01, template, known, seed])


def _build(
    folder: Path, dataset: Dataset, tokenizer: Any, hashes: dict[str, str], seed: int, decided: str, by_01: str | None
) -> None:
    files = [Path(name) for name in hashes]
    ingest = Ingest(folder, dataset, tokenizer, files)
    counts = ingest.run()
    for name, digest in hashes.items():
        if hash_file(Path(name)) != digest:
            raise DataError(
                f"dataset {dataset.name!r}: {name!r} changed while it was read", hint="run again once it is done"
            )
    release_memory()
    assigned = assign(folder, ingest.rows, ingest.samples, dataset, seed=seed)
    digests = [xxhash.xxh3_128(each.encode()) for each in (decided, by_01) if each is not None]
    sizes = _write_splits(folder, ingest, assigned, digests)
    fingerprint, earlier = digests[0].hexdigest(), digests[-1].hexdigest() if by_01 else None
    report = _report(folder, ingest, counts, assigned, sizes, fingerprint, hashes, tokenizer)
    report = replace(report, fingerprint_of_01=earlier)
    (folder / "report.json").write_bytes(orjson.dumps(report.as_dict()))
    for scratch in folder.glob("*.bin"):
        if scratch.name != "conversations.bin":
            scratch.unlink()


def _write_splits(folder: Path, ingest: Ingest, assigned: Assignment, digests: list[Any]) -> dict[str, SplitSize]:
    """Write the columns of each split, ordered by id, and update the fingerprints."""
    samples, sizes = ingest.samples, {}
    row_split = np.full(ingest.row_count, -1, np.int8)
    row_split[assigned.rows] = assigned.split
    sample_split = row_split[samples.load("row")]
    families = np.zeros(ingest.row_count, np.uint64)
    families[assigned.rows] = assigned.family
    for code, name in enumerate(SPLITS):
        mine = np.flatnonzero(sample_split == code).astype(np.int32)
        mine = mine[np.argsort(samples.load("id")[mine], kind="stable")]
        for column in COLUMNS:
            np.save(folder / f"{name}-{column}.npy", samples.load(column)[mine], allow_pickle=False)
        np.save(folder / f"{name}-{FAMILY}.npy", families[samples.load("row")[mine]], allow_pickle=False)
        for digest in digests:
            digest.update(name.encode() + samples.load("id")[mine].tobytes())
            digest.update(ingest.rows.load("exact")[samples.load("row")[mine]].tobytes())
        tokens, supervised = (int(samples.load(name)[mine].sum(dtype=np.int64)) for name in ("length", "supervised"))
        sizes[name] = SplitSize(samples=len(mine), groups=assigned.groups[code], tokens=tokens, supervised=supervised)
    return sizes


def _report(
    folder: Path, ingest: Ingest, counts: IngestCounts, assigned: Assignment, sizes: dict[str, SplitSize],
    fingerprint: str, hashes: dict[str, str], tokenizer: Any,
) -> DataReport:  # fmt: skip
    lengths = np.concatenate([load_array(folder / f"{name}-length.npy") for name in SPLITS])
    notes = [
        *counts.notes,
        *_length_notes(counts),
        *_markup_notes(counts),
        *_pair_notes(counts),
        *_reasoning_notes(counts),
        *_grouping_notes(assigned),
    ]
    return DataReport(
        name="", files=hashes, rows=counts.rows, blank_lines=counts.blank_lines, rejected=_ranked(counts.rejected),
        reject_examples=counts.examples, formats=_ranked(counts.formats), unused=_ranked(counts.unused),
        exact_duplicates=assigned.exact_duplicates, near_duplicates=assigned.near_duplicates,
        near_dropped=assigned.near_dropped, conflicts=assigned.conflicts,
        conflict_examples=_conflict_examples(folder, ingest, assigned.conflict_rows),
        overlong=dict(counts.overlong), tokens_lost=counts.tokens_lost, lengths=percentiles(lengths),
        histogram=histogram(lengths), splits=sizes, sample=_shown(folder, tokenizer), notes=notes,
        file_problems=counts.file_problems, fingerprint=fingerprint, refusal=None, rejected_file=None,
        enough_length=max(counts.long_rows, default=None),
    )  # fmt: skip


def _length_notes(counts: IngestCounts) -> list[str]:
    """The values of max_length that would include most and all of the rows that are too long."""
    total, reached, most = sum(counts.long_rows.values()), 0, 0
    if not total:
        return []
    for most in sorted(counts.long_rows):
        reached += counts.long_rows[most]
        if reached >= 0.9 * total:
            break
    longest = max(counts.long_rows)
    some = f"dataset.max_length={most} would include {reached:,} of them, " if most < longest else ""
    return [f"{total:,} rows are longer than max_length: {some}{'' if some else 'dataset.max_length='}{longest} all"]


def _markup_notes(counts: IngestCounts) -> list[str]:
    rows = sum(counts.markup.values())
    if not rows:
        return []
    kinds = ", ".join(f"{mark} {count:,}" for mark, count in counts.markup.most_common(3))
    return [
        f"{rows:,} rows contain chat markup ({kinds}), which is learned as letters; a whole chat belongs in `messages`"
    ]


def _pair_notes(counts: IngestCounts) -> list[str]:
    pairs = sum(counts.formats[name] for name in ("preference", "openai_preference"))
    if not pairs:
        return []
    return [f"{pairs:,} preference rows: stage=preference compares both answers, other stages learn the better one"]


def _reasoning_notes(counts: IngestCounts) -> list[str]:
    if not counts.omitted_reasoning:
        return []
    return [f"the chat template does not render reasoning, so that of {counts.omitted_reasoning:,} answers is left out"]


def _grouping_notes(assigned: Assignment) -> list[str]:
    rows, groups = len(assigned.rows), sum(assigned.groups)
    if 0 < groups < 3:
        return [f"only {groups} group(s) of alike rows: everything is for training, nothing is held out"]
    found = []
    if assigned.largest > max(1, 0.2 * rows):
        found.append(f"one group of alike rows holds {assigned.largest:,} of {rows:,}; it stays in one split whole")
    if assigned.common_template:
        found.append(
            f"{assigned.common_template:,} of {rows:,} questions differ only in numbers and names: the test split asks "
            "training's questions with other ones"
        )
    return found


def _ranked(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _conflict_examples(folder: Path, ingest: Ingest, groups: list[list[int]]) -> list[dict[str, Any]]:
    if not groups:
        return []
    spool, size = ingest.rows.load("spool"), ingest.rows.load("spool_size")
    file, line = ingest.rows.load("file"), ingest.rows.load("line")
    examples = []
    with (folder / "conversations.bin").open("rb") as stored:
        for rows in groups:
            said = [read_entry(stored.fileno(), spool[row], size[row])["messages"] for row in rows]
            where = [f"{ingest.files[file[row]]}:{line[row]}" for row in rows]
            asked = next((turn[1] for turn in reversed(said[0][:-1]) if turn[0] == "user"), "")
            examples.append({"prompt": asked[:300], "answers": [turns[-1][1][:300] for turns in said], "where": where})
    return examples


def _shown(folder: Path, tokenizer: Any) -> list[tuple[str, bool]]:
    """The first short training sample, as runs of text with their supervision flags."""
    split = Split(folder, "train")
    if not len(split):
        return []
    short = np.flatnonzero(split.lengths <= _SHOWN_TOKENS)
    sample = split[int(short[0]) if len(short) else int(np.argmin(split.lengths))]
    borders = np.flatnonzero(np.diff(sample.supervised)) + 1
    runs = zip(np.split(sample.tokens, borders), np.split(sample.supervised, borders), strict=True)
    return [(tokenizer.decode(tokens.tolist()), bool(flags[0])) for tokens, flags in runs]
