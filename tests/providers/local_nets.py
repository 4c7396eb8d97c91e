from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from hafs.config import build, compose
from hafs.providers.local import Local

QUESTIONS = [
    "What is the capital of France?",
    "Write one line of 65816 assembly that loads zero into the accumulator, and say what each part of it means.",
    "Hi",
    "Why does my ROM hack crash when Link enters the cave?",
]


SETTINGS = {"quant": "none", "precision": "fp32", "accelerator": "cpu", "rows": 8, "adapters": 4, "max_tokens": 12}


def host(**changes):
    return Local(**SETTINGS | changes)


def save_adapter(folder: Path, *, model="tiny", seed=0, spread=1.0, words=(), **fields) -> Path:
    """An adapter that changes what the base says."""
    source = build(compose("train", [f"model={model}", *words]).model)
    net = source.load(quant=build(compose("train", ["quant=none"]).quant), dtype=torch.float32,
                      device=torch.device("cpu"))  # fmt: skip
    torch.manual_seed(seed)
    net = get_peft_model(net, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **fields))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=spread)
    net.save_pretrained(folder)
    return folder
