"""Local decoding on a CPU: the model's own steps, fast steps, and llama.cpp over the same weights, in one process.

    python benchmarks/local_speed.py --threads 1 --rounds 5

SmolLM2-135M: NF4 in hafs, bf16 in llama.cpp (which computes nonsense from 4-bit files of this model). Every round runs
all contestants in turn, without their prompts. Tokens per second of processor time change least with other load.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

PROMPT = list(range(100, 140))


def hafs_nets(folders: list[str]):
    """The base with adapters as the local provider loads it, its decoder, and the names of the adapters."""
    import torch

    from hafs.config import build, compose
    from hafs.modeling import hardware
    from hafs.modeling.adapter.cache import AdapterCache
    from hafs.modeling.generation import set_for_inference

    config = compose("train", ["model=smollm2_135m", "quant=nf4"])
    device = torch.device("cpu")
    dtype, _ = hardware.precision("auto", device)
    net = build(config.model).load(quant=build(config.quant), dtype=dtype, device=device).requires_grad_(False)
    set_for_inference(net)
    shelf = AdapterCache(net)
    return net, [shelf.name_of(Path(folder)) for folder in folders]


def steps(net, names: list[str | None], step, tokens: int) -> tuple[float, float, list[list[int]]]:
    """Tokens per second, and per second of processor time, after the prompts; and the tokens."""
    from hafs.modeling.generation.decoder import Decoder, Generation

    decoder = Decoder(net, ends=(), fast_step=lambda: step)
    rows = [Generation([*PROMPT, i], adapter=name, limit=tokens) for i, name in enumerate(names)]
    for row in rows:
        decoder.add(row)
    decoder.step()
    began, used, count = time.perf_counter(), time.process_time(), 0
    while decoder:
        count += len(decoder.step())
    return count / (time.perf_counter() - began), count / (time.process_time() - used), [row.said for row in rows]


def llama(models, number: int | None, tokens: int) -> tuple[float, float, None]:
    """The same of llama.cpp bare; its prompt is in the processor time and not in the other."""
    import httpx

    with models[-1].servers.serving(None) as served:
        body = {"prompt": PROMPT, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False,
                "lora": [{"id": i, "scale": float(i == number)} for i in served.adapters.values()]}  # fmt: skip
        used = time.process_time()
        headers = {"authorization": f"Bearer {served.key}"}
        said = httpx.post(f"{served.url}/completion", json=body, headers=headers, timeout=600).json()
        return said["timings"]["predicted_per_second"], tokens / (time.process_time() - used), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    import torch
    from local_provider import make_adapters

    from hafs.modeling.generation.fast_step import fast_step_of
    from hafs.providers import llamacpp_server
    from hafs.providers.llamacpp import LlamaCpp

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as root:
        folders = make_adapters(Path(root), 3)
        net, names = hafs_nets(folders)
        fast = fast_step_of(net)
        host = LlamaCpp(kind="bf16", slots=4, threads=asked.threads, max_tokens=8)
        models = [host.chat("smollm2_135m", context=2048, adapter=folder) for folder in (None, *folders)]
        for model in models:
            model.invoke("Hi")
        runs: dict[str, Callable[[], tuple]] = {
            "own steps": lambda: steps(net, [None], None, asked.tokens // 2),
            "fast steps": lambda: steps(net, [None], fast, asked.tokens),
            "llama.cpp": lambda: llama(models, None, asked.tokens),
            "own steps, adapter": lambda: steps(net, names[:1], None, asked.tokens // 2),
            "fast steps, adapter": lambda: steps(net, names[:1], fast, asked.tokens),
            "llama.cpp, adapter": lambda: llama(models, 0, asked.tokens),
            "own steps, three adapters": lambda: steps(net, names, None, asked.tokens // 2),
            "fast steps, three adapters": lambda: steps(net, names, fast, asked.tokens),
        }
        found: dict[str, list[tuple]] = {name: [] for name in runs}
        for number in range(asked.rounds + 1):
            for name, run in runs.items():
                result = run()
                if number:  # the first round warms up
                    found[name].append(result)
        llamacpp_server.close()
    report(found, asked.threads)


def report(found: dict[str, list[tuple]], threads: int) -> None:
    wall, used = ({name: median(r[i] for r in rounds) for name, rounds in found.items()} for i in (0, 1))
    print(f"{threads} thread(s), medians of {len(found['own steps'])} rounds")
    print("| | tokens/s | tokens per s of processor time | of own steps | of llama.cpp without adapter |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in found:
        own = "own steps" + name.removeprefix("fast steps").removeprefix("own steps").removeprefix("llama.cpp")
        print(f"| {name} | {wall[name]:.1f} | {used[name]:.1f} | {used[name] / used[own]:.2f}x | "
              f"{wall[name] / wall['llama.cpp']:.2f}x ({used[name] / used['llama.cpp']:.2f}x) |")  # fmt: skip
    for kind in ("", ", adapter", ", three adapters"):
        own, fast = found[f"own steps{kind}"][0][2], found[f"fast steps{kind}"][0][2]
        same = sum(a == b for x, y in zip(own, fast, strict=True) for a, b in zip(x, y, strict=False))
        print(f"tokens equal to those of own steps{kind}: {same} of {sum(map(len, own))}")


if __name__ == "__main__":
    main()
