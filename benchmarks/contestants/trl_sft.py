"""TRL's SFTTrainer on the shared rows; runs in an environment of its own, without hafs.

Written as its documentation would have a user write it: NF4 base in the compute type, LoRA through PEFT, `bf16`, its
own defaults for everything that the comparison does not fix. The rows arrive tokenized, with `labels` that are -100
wherever the loss must not look.

    python trl_sft.py SPEC.json
"""

import json
import sys
import time
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer

IGNORED = -100


class Marks(TrainerCallback):
    """The clock at the end of each optimizer step, and the first loss."""

    def __init__(self):
        self.seconds, self.first_loss = [], None

    def on_step_end(self, args, state, control, **_):
        """Look at the clock."""
        self.seconds.append(time.time())

    def on_log(self, args, state, control, logs=None, **_):
        """Keep the first loss."""
        if self.first_loss is None and "loss" in logs:
            self.first_loss = logs["loss"]


def labels(row):
    return [token if flag else IGNORED for token, flag in zip(row["tokens"], row["supervised"], strict=True)]


def dataset_of(rows):
    return Dataset.from_list([{"input_ids": row["tokens"], "labels": labels(row)} for row in rows])


def model_of(spec):
    """The NF4 base with a fresh adapter, drawn from the same seed as everybody's."""
    dtype = getattr(torch, spec["dtype"])
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    net = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=dtype, quantization_config=quantization)
    torch.manual_seed(spec["adapter_seed"])
    return get_peft_model(net, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **spec["lora"]))


def settings_of(spec):
    return SFTConfig(
        output_dir=spec["scratch"],
        per_device_train_batch_size=spec["micro"],
        gradient_accumulation_steps=spec["accumulate"],
        packing=spec["packing"],
        max_length=spec["row_tokens"],
        gradient_checkpointing=spec["checkpointing"],
        bf16=spec["dtype"] == "bfloat16",
        use_cpu=True,
        learning_rate=spec["lr"],
        lr_scheduler_type="constant",
        max_grad_norm=spec["max_grad_norm"],
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        logging_first_step=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def samples_of(packed_row):
    """A row of the trainer's dataset, taken apart into its samples again."""
    borders = [0, *accumulate(packed_row.get("seq_lengths", [len(packed_row["input_ids"])]))]
    return [packed_row["input_ids"][start:end] for start, end in pairwise(borders)]


def steps_of(trainer, rows, size):
    """What each optimizer step saw: sample ids, tokens, supervised tokens."""
    names = {tuple(row["tokens"]): row["id"] for row in rows}
    seen = [trainer.train_dataset[i] for i in range(len(trainer.train_dataset))]
    steps = [seen[first : first + size] for first in range(0, len(seen), size)]
    return [
        {
            "samples": [names[tuple(tokens)] for row in step for tokens in samples_of(row)],
            "tokens": sum(len(row["input_ids"]) for row in step),
            "supervised": sum(label != IGNORED for row in step for label in row["labels"]),
        }
        for step in steps
    ]


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    rows = json.loads(Path(spec["rows"]).read_text())["train"][: spec["samples"]]
    marks = Marks()
    trainer = SFTTrainer(
        model=model_of(spec),
        args=settings_of(spec),
        train_dataset=dataset_of(rows),
        processing_class=AutoTokenizer.from_pretrained(spec["model"]),
        callbacks=[marks],
    )
    trainer.train()
    steps = steps_of(trainer, rows, spec["micro"] * spec["accumulate"])
    if spec["adapter"]:
        trainer.save_model(spec["adapter"])
    facts = {"steps": steps, "ends": marks.seconds, "first_loss": marks.first_loss}
    Path(spec["facts"]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
