"""Pairs and a small model for a comparison with TRL; run in an environment with TRL, it writes what TRL computes.

python tests/training/trl_pairs.py          # pip install trl==1.16.0; writes trl_pairs.json beside this file
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from hafs.config import build, compose

GOLDEN = Path(__file__).with_suffix(".json")
SIZES = [(5, 9, 4), (11, 3, 14), (2, 6, 6), (8, 1, 20)]
"""Tokens of the prompt, of the better and of the worse answer."""
BETA = 0.1


def token_pairs():
    """Prompt, better and worse answer of each pair, as token ids."""
    rng = np.random.default_rng(3)
    return [tuple(rng.integers(5, 40_000, n).tolist() for n in sizes) for sizes in SIZES]


def configured():
    return compose("train", ["model=tiny", "quant=none", "adapter.r=4"])


def perturb(parameters):
    """The weights at which losses are compared: away from the start, so that no gradient is zero."""
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in sorted(parameters.items()):
            parameter.add_(torch.randn(parameter.shape, generator=rng) * (0.05 if "lora_B" in name else 0.01))


def start(parameters):
    """The weights before training: the adapter changes nothing."""
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in sorted(parameters.items()):
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * (0.0 if "lora_B" in name else 0.1))


def sketch(parameters):
    """Norm of each gradient and two projections of it, which no wrong gradient shares."""
    found = {}
    for name, parameter in parameters.items():
        gradient = parameter.grad.double().flatten()
        place = torch.arange(len(gradient), dtype=torch.float64)
        found[name] = [float(gradient.norm()), float(gradient @ place.sin()), float(gradient @ (place * 0.7).cos())]
    return found


def theirs():
    """transformers' own model with PEFT's adapter, at its start."""
    from peft import LoraConfig, get_peft_model

    config = configured()
    net = build(config.model).weights.loading(AutoModelForCausalLM.from_pretrained, dtype=torch.float32)
    net = get_peft_model(net, LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    start(trained(net))
    return net


def trained(net):
    return {name: p for name, p in net.named_parameters() if p.requires_grad}


def rows():
    return [{"prompt_ids": p, "chosen_ids": c, "rejected_ids": r} for p, c, r in token_pairs()]


def with_trl(loss_type, folder):
    """Loss and gradients of TRL's own trainer."""
    import trl
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    tokenizer = build(configured().model).tokenizer()
    text = [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 4
    common = {"output_dir": str(folder), "report_to": "none", "use_cpu": True, "bf16": False, "beta": BETA}
    if loss_type == "orpo":
        arguments = ORPOConfig(**common)
        trainer = ORPOTrainer(model=theirs(), args=arguments, train_dataset=Dataset.from_list(text),
                              processing_class=tokenizer)  # fmt: skip
    else:
        arguments = trl.DPOConfig(**common)
        trainer = trl.DPOTrainer(model=theirs(), args=arguments, train_dataset=Dataset.from_list(text),
                                 processing_class=tokenizer)  # fmt: skip
    parameters = trained(trainer.model)
    perturb(parameters)
    if loss_type == "orpo":
        loss, metrics = trainer.get_batch_loss_metrics(trainer.model, orpo_batch(tokenizer.pad_token_id), "train")
        margin = float(metrics["rewards/margins"])
    else:
        loss = trainer._compute_loss(trainer.model, trainer.data_collator(rows()), False)
        margin = trainer._metrics["train"]["rewards/margins"][-1]
    loss.backward()
    return {"loss": float(loss), "margin": margin, "gradients": sketch(parameters)}


def orpo_batch(pad):
    batch = {}
    for side, place in (("chosen", 1), ("rejected", 2)):
        ids = [pair[0] + pair[place] for pair in token_pairs()]
        longest = max(map(len, ids))
        batch[f"{side}_input_ids"] = torch.tensor([each + [pad] * (longest - len(each)) for each in ids])
        batch[f"{side}_attention_mask"] = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in ids])
        labels = batch[f"{side}_input_ids"].clone()
        for row, (pair, each) in enumerate(zip(token_pairs(), ids, strict=True)):
            labels[row, : len(pair[0])] = -100
            labels[row, len(each) :] = -100
        batch[f"{side}_labels"] = labels
    return batch


if __name__ == "__main__":
    import tempfile

    import trl

    with tempfile.TemporaryDirectory() as folder:
        found = {"trl": trl.__version__} | {name: with_trl(name, folder) for name in ("dpo", "orpo")}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
