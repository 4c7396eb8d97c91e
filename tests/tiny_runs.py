"""Whole runs of the tiny model in this process, through the command's own function, and what they leave."""

import json

import orjson
from safetensors.torch import load_file

from hafs.config import check, compose
from hafs.train import Settings, train

WORDS = ("add", "load", "store", "push", "pull", "jump", "shift", "rotate", "branch", "compare", "clear", "set", "move")


def write_rows(path, count=40):
    """A dataset of short rows."""
    rows = [
        {"instruction": f"{WORDS[i % 13]} {i}", "output": f"{WORDS[(i * 5) % 13]} the value {i * 3} into bank {i % 7}"}
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


COMMON = [
    "experiment=none",  # stages as configured, not by the size of the data
    "model=tiny",
    "quant=none",
    "dataset=jsonl",
    "dataset.path=rows.jsonl",
    "precision=fp32",
    "logger=none",
    "trainer=cpu",
    "show.measured=0",
    "show.prompts=0",
    "callbacks.generations.prompts=0",
    "adapter.r=4",
    "stage.warmup.samples=8",
    "stage.main.samples=20",
    "stage.cooldown.samples=8",
    "stage.warmup.lr=1e-3",
    "stage.main.lr=3e-3",
    "stage.cooldown.lr=1e-4",
    "name=run",
]


def with_common(*words, common=COMMON):
    """The words of a run: the common ones, without values of stages that were not chosen, then its own."""
    chosen = next((word for word in words if word.startswith("stage=")), "stage=warmup,main,cooldown")
    stages = chosen.removeprefix("stage=").split(",")
    return [*(w for w in common if not w.startswith("stage.") or w.split(".")[1] in stages), *words]


def run(*words):
    config = compose("train", with_common(*words))
    check(config, Settings)
    return train(config)


def events(folder, kind=None):
    """Events of a run's folder, those of a kind, torn lines passed over."""
    path, found = folder / "events.jsonl", []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict) and kind in (None, event["event"]):
            found.append(event)
    return found


def steps(folder):
    """What each step was, the last telling of it, without times."""
    last = {e["total"]: e for e in events(folder, "step") if "stage" in e}
    return [{k: v for k, v in last[t].items() if k not in ("time", "seconds")} for t in sorted(last)]


def adapter(folder):
    """The trained adapter's tensors by name."""
    return load_file(folder / "adapter/adapter_model.safetensors")
