"""The gate's three planted cases and a good run, with the real model; `pytest -m long`."""

import json
import random
import shutil
from pathlib import Path

import pytest

from hafs.commands.evaluate import Settings, evaluate
from hafs.config import check, compose
from hafs.core import durable
from hafs.core.errors import GateRefused
from hafs.runs import evaluation_record
from hafs.train import Settings as TrainSettings
from hafs.train import train

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
COMMON = [
    "experiment=none", "stage=main", "stage.main.epochs=1", "stage.main.warmup_steps=2", "logger=none", "trainer=cpu",
    "show.measured=0", "show.prompts=0", "callbacks.generations.prompts=0", "dataset.val_fraction=0.03",
    "on_worse=continue",
]  # fmt: skip


def trained(name, *words):
    config = compose("train", [*COMMON, f"name={name}", *words])
    check(config, TrainSettings)
    train(config)


def planted(name, adapter):
    """The good run with another adapter in its folder."""
    shutil.copytree("outputs/good", f"outputs/{name}")

    def write(draft):
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(Path(adapter) / file, draft)

    durable.commit(Path(f"outputs/{name}/adapter"), write)


def judged(name):
    """The figures, and the metrics whose rules do not hold."""
    config = compose("evaluate", [f"name={name}", "rows=32", "max_new_tokens=0", "draws=500"])
    check(config, Settings)
    refused = False
    try:
        evaluate(config)
    except GateRefused:
        refused = True
    found = evaluation_record.read(Path("outputs") / name)
    assert found.verdict.passed is not refused
    return found.metrics, {ruling.metric for ruling in found.verdict.rules if not ruling.passed}


def test_the_gate_passes_a_good_run_and_refuses_the_three_planted_cases(here):
    dice = random.Random(3)
    noise = [
        {"instruction": f"Write a routine number {i}.", "output": " ".join(str(dice.random()) for _ in range(6))}
        for i in range(120)
    ]
    Path("noise.jsonl").write_text("".join(json.dumps(row) + "\n" for row in noise))
    trained("good", "dataset=alttp_asm", "stage.main.samples=64", "stage.main.lr=1e-3")
    trained("noise", "dataset=jsonl", "dataset.path=noise.jsonl", "stage.main.samples=64", "stage.main.lr=3e-3")
    trained("forgetful", "dataset=alttp_asm", "stage.main.samples=64", "stage.main.lr=1e-2")
    planted("untrained", "outputs/good/stages/00-base/adapter")
    planted("noisy", "outputs/noise/adapter")

    figures, failed = judged("good")
    assert failed == set()
    assert figures["perplexity"].ratio_high < 0.9
    figures, failed = judged("untrained")
    assert failed == {"perplexity"}
    assert figures["perplexity"].difference == figures["forgetting"].difference == 0
    figures, failed = judged("noisy")
    assert "perplexity" in failed
    figures, failed = judged("forgetful")
    assert "forgetting" in failed
    assert figures["forgetting"].low > 0.05
