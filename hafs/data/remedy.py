"""What to do about data that training refuses, from the most frequent reason for which its rows are rejected."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hafs.data.report import DataReport

ONE_OBJECT = 'one JSON object per line: {"instruction": "...", "output": "..."}'
_TABLE = re.compile(r'[\w" ]+([,;|\t][\w" ]+)+')
_LISTED = "hafs validate lists every such row in rejected.jsonl"


def remedy(report: "DataReport") -> str:
    """How to fix the data, in one line.

    Args:
        report: Of a dataset that is refused.
    """
    reason = next(iter(report.rejected), "")
    example = next(iter(report.reject_examples.get(reason, [])), {})
    all_rejected = sum(report.rejected.values()) == report.rows
    if reason == "too_long" and report.enough_length:
        found = f"dataset.max_length={report.enough_length} includes them, dataset.overlong=split cuts them"
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
