"""What `hafs plan` says of GPU memory beside what a real step takes, on random weights of the catalogue's shapes.

    python benchmarks/gpu_memory.py                            1.5B, 7B and 14B under a cap of 16 GiB
    python benchmarks/gpu_memory.py --models qwen14b --tokens 512,1024,2048 --cap 16
    python benchmarks/gpu_memory.py --device cpu --models tiny  the same logic without a GPU; memory is not measured

Weights are drawn on the device, layer by layer, already quantized, so that a 14B needs no download and no CPU memory.
torch's per-process fraction holds the process under the cap. For each row length two steps are made for real: forward,
loss, backward, optimizer; the second is timed. Then a row far beyond the cap must run out of memory, be halved and go
on (`MicroBatchSize`).
"""

import argparse
import gc
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from hafs.modeling import out_of_memory
from hafs.modeling.adapter import lora
from hafs.modeling.attention import NAME
from hafs.modeling.base_model import quiet_libraries
from hafs.modeling.hardware import GIB
from hafs.modeling.head import OutputHead
from hafs.modeling.loss import token_loss
from hafs.planning.architecture import described, entries
from hafs.planning.memory import Constants, Setup, terms, total
from hafs.planning.workload import SequenceShape
from hafs.training.micro_batch_size import MicroBatchSize
from hafs.training.optimizer import paged_adamw_8bit


def arguments(typed: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="qwen1_5b,qwen7b,qwen14b", help="names of hafs/planning/catalogue")
    parser.add_argument("--tokens", default="256,512,1024,2048,4096", help="row lengths")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--cap", type=float, default=16.0, help="GiB that the process may take")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="write the rows as JSON here, too")
    return parser.parse_args(typed)


def quantized(net: torch.nn.Module, device: str, dtype: torch.dtype) -> torch.nn.Module:
    """A net of the meta device with random weights on the real one, its linear layers in NF4."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    head = net.get_output_embeddings()  # type: ignore[operator]
    for name, layer in list(net.named_modules()):
        if not isinstance(layer, torch.nn.Linear) or layer is head:
            continue
        small = Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=dtype, quant_type="nf4",
            compress_statistics=True, device="meta",
        )  # fmt: skip
        drawn = torch.randn(layer.out_features, layer.in_features, dtype=dtype, device=device) * 0.02
        small.weight = Params4bit(
            drawn, requires_grad=False, quant_type="nf4", compress_statistics=True, module=small
        ).to(device)
        if layer.bias is not None:
            small.bias = torch.nn.Parameter(torch.zeros(layer.out_features, dtype=dtype, device=device))
        parent, _, leaf = name.rpartition(".")
        setattr(net.get_submodule(parent), leaf, small)
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                drawn = torch.randn(parameter.shape, dtype=dtype, device=device) * 0.02
                setattr(module, name, torch.nn.Parameter(drawn, requires_grad=False))
    net.tie_weights()  # type: ignore[operator]
    return net


def loaded(name: str, options: argparse.Namespace, dtype: torch.dtype) -> Any:
    """A catalogue model with random weights, checkpointing and an adapter."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = dict(entries()[name]["config"])
    described_config = AutoConfig.for_model(config.pop("model_type"), **config)
    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(described_config, dtype=dtype, attn_implementation=NAME)
    net.model.rotary_emb = type(net.model.rotary_emb)(config=described_config).to(options.device)  # no weights, buffers
    net = quantized(net, options.device, dtype)
    net.activation_checkpointing_enable()
    adapter = lora(
        name="lora", r=options.rank, lora_alpha=32.0, lora_dropout=0.0, target_modules="all-linear", use_rslora=False,
        use_dora=False,
    )  # fmt: skip
    return adapter.attach(net.train())


def loss_of(net: Any, tokens: int, device: str) -> torch.Tensor:
    """The loss of one row of one random sample, half of it supervised."""
    base = net.get_base_model()
    ids = torch.randint(0, base.config.vocab_size, (1, tokens), device=device)
    hidden = base.model(input_ids=ids, position_ids=torch.arange(tokens, device=device)[None], use_cache=False,
                        borders=[0, tokens]).last_hidden_state[0]  # fmt: skip
    half = tokens // 2
    return token_loss(hidden[half:-1], OutputHead(weight_VD=base.lm_head.weight), ids[0, half + 1 :]).nats / half


def step(net: Any, optimizer: Any, tokens: int, device: str) -> float:
    """One optimizer step; its loss."""
    loss = loss_of(net, tokens, device)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def planned(name: str, tokens: int, options: argparse.Namespace) -> float:
    """GiB that the plan says, the CUDA context left out, as torch counts."""
    setup = Setup(
        bits=4, double=True, rank=options.rank, targets="all-linear", dora=False, dropout=0.0,
        eight_bit_optimizer=options.device == "cuda", checkpointing=True, embedding_on_cpu=False, product_bytes=2,
        device="cuda" if options.device == "cuda" else "cpu",
    )  # fmt: skip
    row = SequenceShape(
        tokens=tokens, samples=1, longest=tokens, short_squares=0.0, long_tokens=tokens, supervised=tokens - tokens // 2
    )
    constants = Constants(context_bytes=0, slack=0.08, source="")
    return total(terms(described(entries()[name]["config"]), setup, row, constants)) / GIB


def recovered(net: Any, optimizer: Any, longest: int, options: argparse.Namespace) -> dict[str, Any]:
    """Whether a step that runs out of memory is halved until it fits, with the same samples, and the next one works.

    The step has 64 samples of `longest` tokens in one row, far beyond the cap; on a CPU the refusal is simulated.
    """
    samples = [SimpleNamespace(tokens=range(longest)) for _ in range(64)]
    sizes: list[int] = []
    size = MicroBatchSize(64 * longest, on_shrink=lambda tokens, _: sizes.append(tokens))

    def attempt(given: Any) -> int:
        per_row = max(1, size.tokens // longest)
        if options.device == "cpu" and per_row > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated: no GPU here)")
        rows = [min(per_row, len(given) - i) * longest for i in range(0, len(given), per_row)]
        for tokens in rows[:2]:  # two rows show that it goes on
            loss_of(net, tokens, options.device).backward()
        return len(given)

    forget = partial(_forget, optimizer)
    count = size.fitting(samples, attempt, anywhere=lambda here: here, forget=forget)
    optimizer.step()
    _forget(optimizer)
    again = step(net, optimizer, longest, options.device)
    return {"halved_to": sizes, "samples": count, "loss_of_the_next_step": round(again, 3)}


def _forget(optimizer: Any) -> None:
    optimizer.zero_grad(set_to_none=True)
    out_of_memory.free_cache()


def adapter_optimizer(net: Any, device: str) -> Any:
    """Paged 8-bit AdamW on a GPU, torch's on a CPU."""
    trained = [p for p in net.parameters() if p.requires_grad]
    if device == "cuda":
        return paged_adamw_8bit(trained, name="x", betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0)
    return torch.optim.AdamW(trained, lr=0.0)


def measured(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One model: a line for each row length, and the recovery."""
    on_gpu, lines = options.device == "cuda", []
    net = loaded(name, options, torch.bfloat16)
    optimizer = adapter_optimizer(net, options.device)
    lengths = [int(word) for word in options.tokens.split(",")]
    for tokens in lengths:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        line: dict[str, Any] = {
            "model": name,
            "tokens": tokens,
            "planned_gib": round(planned(name, tokens, options), 2),
        }
        try:
            line["loss"] = round(step(net, optimizer, tokens, options.device), 3)
            start = time.perf_counter()
            step(net, optimizer, tokens, options.device)  # ends in float(), which waits for the device
            line["tokens_per_second"] = round(tokens / (time.perf_counter() - start))
            line["reserved_gib"] = round(torch.cuda.max_memory_reserved() / GIB, 2) if on_gpu else None
        except torch.OutOfMemoryError:
            line["reserved_gib"] = "out of memory"
            _forget(optimizer)
        lines.append(line)
        show(line)
    line = {"model": name, "recovery": recovered(net, optimizer, lengths[0], options)}
    show(line)
    del net, optimizer
    gc.collect()
    out_of_memory.free_cache()
    return [*lines, line]


def show(line: dict[str, Any]) -> None:
    if "recovery" in line:
        print(f"| {line['model']} | recovery | {line['recovery']} |", flush=True)
        return
    real, plan = line["reserved_gib"], line["planned_gib"]
    error = f"{plan / real - 1:+.1%}" if isinstance(real, float) else ""
    speed = f"{line['tokens_per_second']:,}" if "tokens_per_second" in line else ""
    print(f"| {line['model']} | {line['tokens']:,} | {plan} | {real} | {error} | {speed} |", flush=True)


def main(typed: Sequence[str] | None = None) -> None:
    options = arguments(typed)
    quiet_libraries()
    torch.manual_seed(0)
    if options.device == "cuda":
        free, whole = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.cap * GIB / whole))
        torch.zeros(1, device="cuda")
        print(f"{torch.cuda.get_device_name()}, cap {options.cap} GiB, torch {torch.__version__}; ", end="")
        print(f"CUDA context {(free - torch.cuda.mem_get_info()[0]) / GIB:.2f} GiB")
    print("| model | row tokens | planned GiB | reserved GiB | error | tokens/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    lines = [line for name in options.models.split(",") for line in measured(name, options)]
    if options.out:
        options.out.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
