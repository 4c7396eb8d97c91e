"""One judge for all: the held-out loss of saved adapters, by transformers and PEFT alone, one sample at a time.

    python held_out.py SPEC.json

No packing and none of hafs' functions: full logits, float32 cross entropy, the sum over supervised tokens divided by
their number. It also says what the untouched base thinks of the samples of each contestant's first step, which is what
that contestant must have reported as its first loss if it looked at the same tokens.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


@torch.no_grad()
def nats(net, row):
    """Summed loss of one sample, and its supervised tokens."""
    tokens = torch.tensor(row["tokens"])
    target = torch.tensor(row["supervised"][1:]).nonzero()[:, 0]
    logits_TV = net(input_ids=tokens[None], use_cache=False).logits[0]
    loss = F.cross_entropy(logits_TV[target].float(), tokens[1:][target], reduction="sum")
    return loss.item(), len(target)


def mean_loss(net, rows):
    parts = [nats(net, row) for row in rows]
    return sum(loss for loss, _ in parts) / sum(count for _, count in parts)


def base_of(spec):
    """The NF4 base in train mode: bitsandbytes repacks 4-bit weights of a base in eval mode on some CPUs."""
    dtype = getattr(torch, spec["dtype"])
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return AutoModelForCausalLM.from_pretrained(spec["model"], dtype=dtype, quantization_config=quantization).train()


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    rows = json.loads(Path(spec["rows"]).read_text())
    by_id = {row["id"]: row for row in rows["train"]}
    net = base_of(spec)
    firsts = {name: mean_loss(net, [by_id[i] for i in ids]) for name, ids in spec["firsts"].items()}
    losses = {"base": mean_loss(net, rows["held_out"])}
    for name, folder in spec["adapters"].items():
        tuned = PeftModel.from_pretrained(net, folder).train()
        losses[name] = mean_loss(tuned, rows["held_out"])
        net = tuned.unload()
    Path(spec["facts"]).write_text(json.dumps({"losses": losses, "firsts": firsts}))


if __name__ == "__main__":
    main()
