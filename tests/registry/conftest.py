import json

import pytest

from hafs.registry.registry import GateRecord, MetricRecord, Record, Registry, fingerprint


@pytest.fixture
def registry(tmp_path):
    return Registry.open(tmp_path / "registry.toml")


@pytest.fixture
def make(tmp_path):
    """Makes a record and what writes its folder; the bytes follow from `seed`."""

    def made(name, seed=0, **fields):
        def write(folder):
            (folder / "adapter_model.safetensors").write_bytes(f"tensors {seed}".encode())
            (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": seed}))

        sample = tmp_path / "samples" / f"{seed}"
        sample.mkdir(parents=True, exist_ok=True)
        write(sample)
        tensors, config = fingerprint(sample)
        facts = {
            "name": name, "status": "candidate", "specialization": "65816 assembly", "base": "tiny",
            "base_sha256": "b" * 64, "quant": "none", "adapter": "", "adapter_sha256": tensors,
            "adapter_config_sha256": config, "dataset": "alttp_asm", "dataset_hash": "d" * 32,
            "config_sha256": "c" * 64, "trained": "2026-11-25T01:00:00+00:00",
            "registered": "2026-11-25T02:00:00+00:00", "run": name,
            "metrics": {
                "perplexity": MetricRecord(base=9.0, tuned=3.5, difference=-5.5, low=-6.0, high=-5.0, better="lower"),
            },
            "gate": GateRecord(passed=True, rules=["perplexity: tuned over base is 0.39, wanted at most 0.9"]),
        }  # fmt: skip
        return Record(**facts | fields), write

    return made
