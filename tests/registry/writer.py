"""Registers models one after the other, saying each name once it is registered: python writer.py FILE WHO COUNT."""

import json
import sys

from hafs.registry import GateRecord, Record, Registry, fingerprint


def main(path, who, count):
    registry = Registry.open(path)
    for n in range(1, count + 1):
        name = f"writer-w{who}-v{n}"

        def write(folder, name=name):
            (folder / "adapter_model.safetensors").write_bytes(name.encode() * 100)
            (folder / "adapter_config.json").write_text(json.dumps({"name": name}))

        sample = registry.path.parent / "samples" / name
        sample.mkdir(parents=True, exist_ok=True)
        write(sample)
        tensors, config = fingerprint(sample)
        registry.add(Record(
            name=name, status="candidate", specialization="", base="tiny", base_sha256="", quant="none", adapter="",
            adapter_sha256=tensors, adapter_config_sha256=config, dataset="d", dataset_hash="", config_sha256="",
            trained="", registered="", gate=GateRecord(passed=True),
        ), write)  # fmt: skip
        if n > 1:
            registry.promote(name)
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
