"""What the contestants of the reliability benchmark share: data, model, faults, and what is written down."""

import hashlib
import json
import os
import resource
import signal
from pathlib import Path

import torch

SAMPLES, BATCH, EPOCHS, SAVE_EVERY, AT = 48, 4, 2, 5, 13
"""24 steps; a checkpoint every 5; the fault strikes in step 13 (counted from zero)."""


def model():
    """A Llama of two small layers with dropout."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=256, attention_dropout=0.1, max_position_embeddings=64, **sizes))


def samples():
    """Token ids, each sample with its number."""
    torch.manual_seed(1)
    ids = torch.randint(0, 256, (SAMPLES, 32))
    return [{"number": torch.tensor(i), "input_ids": ids[i], "labels": ids[i]} for i in range(SAMPLES)]


class Torment:
    """Writes steps down and strikes once.

    Args:
        fault: kill, signal, disk, memory, nan, or none.
    """

    def __init__(self, fault):
        self.fault, self.file, self.struck = fault, Path("steps.jsonl"), Path("struck")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def before(self, step, size):
        """A step is about to run on so many samples."""
        if self.fault == "disk" and 8 <= step < AT:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        if self.fault == "disk" and step >= AT:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if self.fault == "memory" and step >= AT and size > BATCH // 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if step != AT or self.struck.exists():
            return
        if self.fault in ("kill", "damage"):
            self.struck.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "signal":
            self.struck.touch()
            os.kill(os.getpid(), signal.SIGTERM)

    def loss(self, step, loss):
        """The loss, or what became of it."""
        return loss * float("nan") if self.fault == "nan" and step == AT else loss

    def note(self, step, numbers, loss):
        """A step was made."""
        with self.file.open("a") as file:
            file.write(json.dumps({"step": step, "samples": numbers, "loss": float(loss)}) + "\n")

    def end(self, parameters):
        """What the run ended with."""
        weights = torch.cat([p.detach().float().cpu().flatten() for p in parameters])
        digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
        Path("end.json").write_text(json.dumps({"digest": digest, "weights": weights.tolist()}))
