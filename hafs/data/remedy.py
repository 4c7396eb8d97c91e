"""What to do about data that training refuses, from the most frequent reason for which its rows are rejected."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

ONE_OBJECT = 'one JSON object per line: {"instruction": "...", "output": "..."}'
_TABLE = re.compile(r'[\w" ]+([,;|\t][\w" ]+)+')
_LISTED = "hafs validate lists every such row in rejected.jsonl"


def remedy(
    rows: int,
    rejected: Mapping[str, int],
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
    enough_length: int | None,
) -> str:
    """How to fix data that are rejected, in one line.

    Args:
        rows: How many were read.
        rejected: How many of them by reason, the most frequent reason first.
        examples: By reason, some of the rejected rows: `file`, `excerpt`, `message`.
        enough_length: Tokens that the longest row needs; None: no row was too long.
    """
    reason = next(iter(rejected), "")
    example = next(iter(examples.get(reason, [])), {})
    all_rejected = sum(rejected.values()) == rows
    if reason == "too_long" and enough_length:
        found = f"dataset.max_length={enough_length} includes them, dataset.overlong=split cuts them"
        return f"{found}; {_LISTED}"
    if all_rejected and reason == "invalid_json":
        return _not_json(str(example.get("file", "")), str(example.get("excerpt", "")))
    if all_rejected and reason == "not_an_object":
        return f"expected {ONE_OBJECT}"
    if reason == "missing_field" and "did you mean" not in str(example.get("message", "")):
        return f"name your keys, dataset.columns='{{my_question: instruction, my_answer: output}}'; {_LISTED}"
    return _LISTED


def _not_json(file: str, first: str) -> str:
    if not first.lstrip().startswith("{") and _TABLE.fullmatch(first.strip()):
        return f"this looks like a table: rename {file!r} to end in .csv or .tsv; or write {ONE_OBJECT}"
    return f"expected {ONE_OBJECT}; dataset.kind=text trains on prose and sources"
