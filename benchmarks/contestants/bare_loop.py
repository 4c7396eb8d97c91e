"""The least code that trains like hafs: its packing, attention, low-rank branch and loss as plain functions, no more.

No Lightning, no callbacks, no configuration, no journal, no checkpoint. What hafs is slower than this is its overhead.

    python bare_loop.py SPEC.json
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from hafs.modeling.adapter.lora_forward import use_lora_forward
from hafs.modeling.attention import NAME
from hafs.modeling.head import OutputHead
from hafs.modeling.loss import token_loss
from hafs.modeling.packing import pack, packed_sequence, supervised_tokens


@dataclass(frozen=True)
class Sample:
    """A row of the shared file."""

    id: str
    tokens: np.ndarray
    supervised: np.ndarray


def net_of(spec):
    dtype = getattr(torch, spec["dtype"])
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    net = AutoModelForCausalLM.from_pretrained(
        spec["model"], dtype=dtype, quantization_config=quantization, attn_implementation=NAME
    )
    torch.manual_seed(spec["adapter_seed"])
    net = get_peft_model(net, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **spec["lora"]))
    use_lora_forward(net)
    return net.train()


def step(net, trained, optimizer, samples, spec):
    """One optimizer step; returns the mean loss of its supervised tokens."""
    model, supervised, nats = net.get_base_model(), supervised_tokens(samples), 0.0
    for group in pack([len(sample.tokens) for sample in samples], spec["row_tokens"]):
        packed = packed_sequence([samples[i] for i in group])
        hidden_TD = model.model(
            input_ids=packed.tokens_T[None],
            position_ids=packed.positions_T[None],
            attention_mask=None,
            use_cache=False,
            borders=packed.borders,
        ).last_hidden_state[0]
        loss = token_loss(hidden_TD[packed.predicts_N], OutputHead(weight_VD=model.lm_head.weight), packed.target_N)
        (loss.nats / supervised).backward()
        nats += loss.nats.item()
    torch.nn.utils.clip_grad_norm_(trained, spec["max_grad_norm"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return nats / supervised


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    rows = json.loads(Path(spec["rows"]).read_text())["train"][: spec["samples"]]
    samples = [Sample(r["id"], np.array(r["tokens"]), np.array(r["supervised"], dtype=bool)) for r in rows]
    net = net_of(spec)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=spec["lr"], weight_decay=0.0, fused=True)
    steps, ends, losses = [], [], []
    for first in range(0, len(samples), spec["batch"]):
        batch = samples[first : first + spec["batch"]]
        losses.append(step(net, trained, optimizer, batch, spec))
        ends.append(time.time())
        tokens = sum(len(sample.tokens) for sample in batch)
        steps.append({"samples": [s.id for s in batch], "tokens": tokens, "supervised": supervised_tokens(batch)})
    net.save_pretrained(spec["adapter"])
    Path(spec["facts"]).write_text(json.dumps({"steps": steps, "ends": ends, "first_loss": losses[0]}))


if __name__ == "__main__":
    main()
