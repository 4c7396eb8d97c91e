"""Experts of the local provider asked at once and one at a time: time, memory, and whether the answers are the same.

    python benchmarks/local_provider.py

Real base (SmolLM2-135M, NF4, bf16 where the CPU has it) and three LoRA adapters (r=16, all linear layers). Each memory
figure is the peak of a process of its own.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

QUESTIONS = [
    "Explain step by step how a game console draws a picture on a television.",
    "Write a long story about a farmer who finds an old computer in a barn.",
    "List twenty animals, each with one sentence about where it lives.",
]


def make_adapters(root: Path, count: int) -> list[str]:
    import torch
    from peft import LoraConfig, get_peft_model

    from hafs.config import build, compose

    config = compose("train", ["model=smollm2_135m", "quant=none"])
    folders = []
    for seed in range(count):
        net = build(config.model).load(quant=build(config.quant), dtype=torch.float32, device=torch.device("cpu"))
        torch.manual_seed(seed)
        net = get_peft_model(net, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, parameter in net.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.003)
        net.save_pretrained(root / f"expert{seed}")
        folders.append(str(root / f"expert{seed}"))
    return folders


def provider():
    from hafs.config import build, compose

    return next(build(node) for node in compose("providers", ["provider=local"]).providers.values())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(folders: list[str], tokens: int, rounds: int) -> dict:
    local = provider()
    models = [local.chat("coding", adapter=folder, max_tokens=tokens) for folder in folders]

    async def at_once():
        return await asyncio.gather(*(m.ainvoke(q) for m, q in zip(models, QUESTIONS, strict=False)))

    async def in_turn():
        said, took = [], []
        for m, q in zip(models, QUESTIONS, strict=False):
            began = time.perf_counter()
            said.append(await m.ainvoke(q))
            took.append(time.perf_counter() - began)
        return said, took

    async def run():
        for model in models:  # the first request of each puts its adapter on, which is not what is measured
            await model.ainvoke("Hi", max_tokens=2)
        together, alone, same = [], [], True
        for _ in range(rounds):
            began = time.perf_counter()
            answers = await at_once()
            together.append(time.perf_counter() - began)
            if len(models) > 1:
                said, took = await in_turn()
                alone.append(took)
                same = same and [a.text for a in said] == [a.text for a in answers]
        written = [a.usage_metadata["output_tokens"] for a in answers]
        return {"together": together, "alone": alone, "same": same, "tokens": written}

    return asyncio.run(run()) | {"peak_mib": peak_mib()}


def batch_speed(tokens: int) -> dict:
    """Sixteen prompts one at a time and at once, as evaluation asks them."""
    import torch

    from hafs.chat import Message
    from hafs.config import build, compose
    from hafs.modeling import hardware
    from hafs.modeling.generation import answer

    config = compose("train", ["model=smollm2_135m", "quant=nf4"])
    device = torch.device("cpu")
    dtype, _ = hardware.precision("auto", device)
    model = build(config.model)
    net, tokenizer = model.load(quant=build(config.quant), dtype=dtype, device=device), model.tokenizer()
    prompts = [(Message(role="user", content=f"{QUESTIONS[i % 3]} Begin with item {i}."),) for i in range(16)]
    took = {}
    for batch in (1, 16):
        began = time.perf_counter()
        said = answer(net, tokenizer, prompts, max_new_tokens=tokens, batch=batch)
        took[batch] = (time.perf_counter() - began, said)
    written = sum(a.tokens for a in took[16][1])
    same = [a.text for a in took[1][1]] == [a.text for a in took[16][1]]
    return {"one": written / took[1][0], "sixteen": written / took[16][0], "same": same}


def in_process(*words: str) -> dict:
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def report(one: dict, three: dict, speed: dict, tokens: int) -> str:
    alone = median(median(took) for took in three["alone"])
    together = median(three["together"])
    memory = three["peak_mib"] / one["peak_mib"]
    return "\n".join(
        [
            f"Answers of at most {tokens} tokens (written: {three['tokens']}), {len(three['together'])} rounds.",
            "",
            "| | one expert | three at once | ratio | wanted |",
            "| --- | ---: | ---: | ---: | ---: |",
            f"| seconds | {alone:.2f} | {together:.2f} | {together / alone:.2f}x | 1.6x |",
            f"| peak memory, MiB | {one['peak_mib']:.0f} | {three['peak_mib']:.0f} | {memory:.2f}x | 1.15x |",
            "",
            f"Answers equal to those given one at a time: {'all' if three['same'] else 'NOT all'}.",
            "",
            f"Sixteen prompts of an evaluation: {speed['one']:.1f} tokens/s one at a time, {speed['sixteen']:.1f} at "
            f"once ({speed['sixteen'] / speed['one']:.2f}x); answers {'equal' if speed['same'] else 'NOT equal'}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs="+")
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(asked.child, asked.tokens, asked.rounds)))
    elif asked.speed:
        print(json.dumps(batch_speed(asked.tokens)))
    else:
        with tempfile.TemporaryDirectory() as root:
            folders = make_adapters(Path(root), 3)
            words = ("--tokens", str(asked.tokens), "--rounds", str(asked.rounds), "--child")
            one, three = in_process(*words, folders[0]), in_process(*words, *folders)
        speed = in_process("--speed", "--tokens", str(asked.tokens // 2))
        print(report(one, three, speed, asked.tokens))


if __name__ == "__main__":
    main()
