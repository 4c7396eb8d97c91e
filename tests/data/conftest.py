import json

import pytest

from hafs.data.dataset import jsonl

OPTIONS = {
    "name": "sample", "max_length": 256, "overlong": "reject", "val_fraction": 0.1, "test_fraction": 0.1,
    "max_rejected": 1.0, "near_duplicate_threshold": 0.85, "drop_near_duplicates": False, "system": None,
    "max_samples": None, "columns": None, "syntax": None, "reasoning": "keep",
    "kind": "rows", "split": "train", "revision": None,
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder):
    """SmolLM2's own tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture
def write(here):
    """Write rows (objects, or raw lines) to a file in an empty folder and return its name."""

    def written(rows, name="rows.jsonl"):
        lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
        (here / name).write_bytes(b"".join(line + b"\n" for line in lines))
        return name

    return written


@pytest.fixture
def described():
    """A dataset with the options' usual values, but for those given."""
    return lambda path, **changed: jsonl(**OPTIONS | {"path": path} | changed)
