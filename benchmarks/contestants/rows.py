"""The rows of the comparison: what hafs' own command would train on for given words, in its own order.

    python rows.py SPEC.json

Writes the training samples of the stage's first epoch and the held-out split as token ids with supervised flags, and
beside them what every contestant must share: weights folder, precision, the seed of the adapter, the LoRA's fields.
"""

import json
import sys
from pathlib import Path

import torch

from hafs.config import compose
from hafs.data.prepare import prepare
from hafs.modeling import hardware
from hafs.modeling.weights import cache_folder
from hafs.training.session import chosen
from hafs.training.stage import key, order


def plain(sample):
    return {"id": sample.id, "tokens": list(map(int, sample.tokens)), "supervised": list(map(bool, sample.supervised))}


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    config = compose("train", spec["words"])
    components = chosen(config)
    (stage,) = components.stages
    data = prepare(
        components.dataset, components.model.tokenizer(), seed=config.seed, cache=cache_folder() / "datasets"
    )
    train, held_out = data.splits["train"], data.splits["val"]
    ids = order(stage, available=len(train), seed=config.seed, epoch=0)
    rows = {"train": [plain(train[i]) for i in ids], "held_out": [plain(held_out[i]) for i in range(len(held_out))]}
    Path(spec["rows"]).write_text(json.dumps(rows))
    lora = {name: components.adapter.config[name] for name in ("r", "lora_alpha", "lora_dropout")}
    shared = {
        "model": str(components.model.weights.folder()),
        "dtype": str(hardware.precision(config.precision, torch.device("cpu")).value).removeprefix("torch."),
        "adapter_seed": key(config.seed, "adapter"),
        "lora": lora,
        "lr": stage.lr,
        "batch": stage.batch_size,
        "max_grad_norm": config.max_grad_norm,
        "row_tokens": components.dataset.max_length,
    }
    Path(spec["facts"]).write_text(json.dumps(shared))


if __name__ == "__main__":
    main()
