#!/usr/bin/env bash
# TRL 1.16.0: DPOConfig(label_smoothing=...) has no effect on the default loss_type ("sigmoid").
#
# Guess: with label_smoothing=0.3 the loss is the conservative DPO loss, -(1-e) log s(m) - e log s(-m), as in the original
# implementation of DPO; so it differs from the loss without smoothing by e times the margin.
# Seen: both losses are the same number. Only "robust", "exo_pair" and the "aot" losses read the setting.
# Exits with 1 if the default loss reads it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 trl==1.16.0 tokenizers
cd "$work"
CUDA_VISIBLE_DEVICES= "$work/venv/bin/python" - <<'PY' 2>/dev/null
import torch, transformers, trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = {word: i for i, word in enumerate(["<pad>", "<eos>", "ask", "good", "bad", "answer"])}
raw = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")


def net(seed):
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(vocab_size=6, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                                        num_attention_heads=2, num_key_value_heads=2))


def loss(smoothing, kind):
    policy, reference = net(0), net(1)
    rows = Dataset.from_list([{"prompt": "ask ", "chosen": "good answer", "rejected": "bad answer"}] * 2)
    arguments = trl.DPOConfig(output_dir="out", report_to="none", use_cpu=True, bf16=False, label_smoothing=smoothing,
                              loss_type=[kind], beta=1.0)
    trainer = trl.DPOTrainer(model=policy, ref_model=reference, args=arguments, train_dataset=rows,
                             processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        return float(trainer._compute_loss(policy, batch, False))


found = {kind: (loss(0.0, kind), loss(0.3, kind)) for kind in ("sigmoid", "robust")}
print("trl", trl.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
for kind, (plain, smooth) in found.items():
    print(f"loss_type={kind}: label_smoothing=0 {plain:.6f}, label_smoothing=0.3 {smooth:.6f}")
assert found["sigmoid"][0] == found["sigmoid"][1], "the default loss reads label_smoothing now"
assert found["robust"][0] != found["robust"][1]
print("the default loss ignores label_smoothing, as seen in 1.16.0")
PY
