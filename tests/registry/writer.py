"""Registers models, saying each name once it is registered: python writer.py FILE WHO COUNT [CROWD].

With CROWD, so many processes do it at once.
"""

import json
import os
import sys

from hafs.registry.registry import GateRecord, Record, Registry, fingerprint


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
    path, who, count, *crowd = sys.argv[1:]
    children = []
    for member in range(int(crowd[0]) if crowd else 0):
        children.append(os.fork())
        if not children[-1]:
            main(path, f"{who}{member}", int(count))
            sys.stdout.flush()
            os._exit(0)
    if not crowd:
        main(path, who, int(count))
    sys.exit(max((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), default=0))
