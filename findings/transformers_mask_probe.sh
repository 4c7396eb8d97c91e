#!/usr/bin/env bash
# transformers looks for packed samples in position_ids, in every forward pass, also where the attention makes no mask.
# Guess: with an attention and a mask function of one's own that ignores everything, a forward pass reads nothing back from the device.
# Seen:  transformers 5.23.0 compares the positions and needs the answer on the host (`.all()` in an `if`): a pass waits for the
#        GPU, and on the meta device it ends in an error. Models that get no position_ids make some, and look at these.
# Who meets it: training loops that should run ahead of the GPU, and whoever counts a model's operations on meta tensors.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.0 transformers==5.23.0
"$folder/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig, LlamaForCausalLM

AttentionInterface.register("plain", lambda module, q, k, v, mask, **_: (q.transpose(1, 2), None))
AttentionMaskInterface.register("plain", lambda *_, **__: None)
sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
with torch.device("meta"):
    net = LlamaForCausalLM._from_config(LlamaConfig(**sizes), attn_implementation="plain")
    ids, places = torch.zeros(1, 6, dtype=torch.long), torch.zeros(1, 6, dtype=torch.long)


def passes(**more):
    try:
        net.model(input_ids=ids, use_cache=False, **more)
    except RuntimeError as error:
        return str(error)
    return "passes"


found = passes(), passes(position_ids=places)
print(f"transformers {transformers.__version__}, passes on the meta device: {found}")
assert "item()" in found[0] and "item()" in found[1], "the behaviour has changed"
PY
