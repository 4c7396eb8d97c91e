"""One side of the comparison in `peers.py`: NF4, LoRA on all linear layers, checkpointing, rows of one length.

python peer.py SPEC.json
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

SPEC: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
if SPEC["side"] == "unsloth":
    import unsloth  # noqa: F401  # it has to be imported before transformers

import torch  # noqa: E402

LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HALF = torch.bfloat16 if SPEC["device"] == "cpu" or torch.cuda.is_bf16_supported() else torch.float16


def rows() -> list[list[int]]:
    """The same random token ids for every side, one row a step."""
    draw = torch.Generator().manual_seed(0)
    return torch.randint(100, 4000, (SPEC["steps"] + 2, SPEC["tokens"]), generator=draw).tolist()


def of_hafs() -> list[float]:
    """Times at the ends of steps of hafs' training module."""
    from functools import partial
    from types import SimpleNamespace

    import numpy as np
    import pytorch_lightning as pl

    from hafs.data.samples import Sample
    from hafs.modeling.adapter import lora
    from hafs.modeling.base_model import Hub, causal_lm
    from hafs.modeling.quantization import bitsandbytes
    from hafs.training.module import FineTuningModule
    from hafs.training.stage import Stage

    device = torch.device(SPEC["device"], 0) if SPEC["device"] == "cuda" else torch.device("cpu")
    model = causal_lm(
        name="it", weights=Hub(repo=SPEC["model"], revision="main"), gradient_checkpointing=True,
        embedding_on_cpu=False, template=None,
    )  # fmt: skip
    net = model.load(quant=bitsandbytes(name="nf4", bits=4, type="nf4", double=True), dtype=HALF, device=device)
    net = lora(
        name="lora", r=SPEC["rank"], lora_alpha=2.0 * SPEC["rank"], lora_dropout=0.0, target_modules=LAYERS,
        use_rslora=False, use_dora=False,
    ).attach(net)  # fmt: skip
    run: Any = SimpleNamespace(event=lambda *_, **__: None, checkpoints=SimpleNamespace())
    nobody: Any = None
    module = FineTuningModule(
        net, optimizer=partial(torch.optim.AdamW, lr=1e-4, fused=True), seed=7, micro_batch_tokens=SPEC["tokens"],
        max_grad_norm=1.0, run=run, tokenizer=None, stop=nobody, scales_loss=torch.float16 == HALF,
    )  # fmt: skip
    module._device = device
    trainer = pl.Trainer(
        accelerator=SPEC["device"] if SPEC["device"] == "cpu" else "gpu", devices=1, logger=False,
        enable_checkpointing=False, barebones=True,
    )  # fmt: skip
    trainer.strategy.connect(module)
    module.trainer = trainer
    module.begin(
        Stage(name="main", samples=None, epochs=1, lr=1e-4, batch_size=1, schedule="constant", warmup_steps=0,
              validation="end", rows="all", preference=None), 1, len(rows()),
    )  # fmt: skip
    optimizer, ends = module.configure_optimizers(), []
    for i, row in enumerate(rows()):
        tokens = np.array(row, np.int32)
        loss, _ = module._all_gradients([Sample(str(i), tokens, np.ones(len(tokens), dtype=bool))])
        module.devices.clipped_norm(module.trainable().values(), 1.0)
        float(loss.nats)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ends.append(time.perf_counter())
    return ends


def of_trl(net: Any, tokenizer: Any) -> list[float]:
    """Times at the ends of steps of TRL's SFTTrainer, with its defaults otherwise."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            ends.append(time.perf_counter())

    settings = SFTConfig(
        output_dir=SPEC["scratch"], per_device_train_batch_size=1, gradient_accumulation_steps=1,
        max_length=SPEC["tokens"], bf16=torch.bfloat16 == HALF, fp16=torch.float16 == HALF,
        use_cpu=SPEC["device"] == "cpu", gradient_checkpointing=True, learning_rate=1e-4, max_grad_norm=1.0,
        max_steps=len(rows()), save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    data = Dataset.from_list([{"input_ids": row, "labels": row} for row in rows()])
    SFTTrainer(model=net, args=settings, train_dataset=data, processing_class=tokenizer, callbacks=[Clock()]).train()
    return ends


def with_trl() -> list[float]:
    """As TRL's documentation has it: NF4 by bitsandbytes, LoRA by PEFT."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=HALF
    )
    place = {"": 0} if SPEC["device"] == "cuda" else None
    net = AutoModelForCausalLM.from_pretrained(
        SPEC["model"], dtype=HALF, quantization_config=quantization, device_map=place
    )
    config = LoraConfig(task_type="CAUSAL_LM", r=SPEC["rank"], lora_alpha=2 * SPEC["rank"], target_modules=LAYERS)
    return of_trl(get_peft_model(net, config), AutoTokenizer.from_pretrained(SPEC["model"]))


def with_unsloth() -> list[float]:
    """As Unsloth's notebooks have it."""
    from unsloth import FastLanguageModel

    net, tokenizer = FastLanguageModel.from_pretrained(
        model_name=SPEC["model"], max_seq_length=SPEC["tokens"], dtype=HALF, load_in_4bit=True
    )
    net = FastLanguageModel.get_peft_model(
        net, r=SPEC["rank"], target_modules=LAYERS, lora_alpha=2 * SPEC["rank"], lora_dropout=0, bias="none",
        use_gradient_checkpointing="unsloth", random_state=7,
    )  # fmt: skip
    return of_trl(net, tokenizer)


def main() -> None:
    ends = {"hafs": of_hafs, "trl": with_trl, "unsloth": with_unsloth}[SPEC["side"]]()
    steps = len(ends) - 2  # from the end of the second step, when kernels are chosen
    found: dict[str, Any] = {"tokens_per_second": round(SPEC["tokens"] * steps / (ends[-1] - ends[1]), 1)}
    if SPEC["device"] == "cuda":
        found["reserved_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 2)
    Path(SPEC["out"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
