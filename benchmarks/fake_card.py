"""What a training step of a 14B would do on a GPU, counted without one: memory, kernels, copies to and from the host.

    python benchmarks/fake_card.py                                  six shapes of Qwen2.5-Coder-14B, NF4, a minute each
    python benchmarks/fake_card.py --layers 4 --shapes 2048:4       4 of its 48 layers, one shape
    python benchmarks/fake_card.py --capability 7.5                 a card without bf16

A stub of 40 lines makes torch's FakeTensorMode run on `cuda:0` in a CPU build. The step is that of the training module:
packing, forward pass with checkpointing, loss, backward pass, optimizer states. Tensors have shapes and no values.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from fake_card_parts.build import restart_with_it

GIB = 2**30
SHAPES = "1024:1,2048:4,4096:4,2048:4:64,8192:8:16:cpu,4096:1:8"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


class Shape(NamedTuple):
    """A packed sequence and its adapter."""

    tokens: int
    samples: int
    rank: int = 16
    embedding: str = "card"
    """Where it is: card or cpu."""

    @classmethod
    def of(cls, text: str) -> "Shape":
        """`tokens:samples[:rank[:cpu]]`."""
        tokens, samples, *more = text.split(":")
        return cls(int(tokens), int(samples), int(more[0]) if more else 16, more[1] if more[1:] else "card")


def arguments(typed: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen14b", help="a name of hafs/planning/catalogue")
    parser.add_argument("--layers", type=int, help="as many of its layers; default: all")
    parser.add_argument("--shapes", default=SHAPES, help="tokens:samples[:rank[:cpu]], with commas between")
    parser.add_argument("--capability", default="8.9", help="compute capability of the card")
    parser.add_argument("--precision", choices=sorted(DTYPES), help="default: as hafs chooses for the capability")
    parser.add_argument("--kernels", choices=("none", "torch", "liger"), default="torch", help="what is fused")
    parser.add_argument("--out", type=Path, help="write what is printed as JSON here, too")
    return parser.parse_args(typed)


def samples_of(shape: Shape) -> list[Any]:
    """Samples of equal lengths, the second half of each supervised."""
    import numpy as np

    from hafs.data.samples import Sample

    length = shape.tokens // shape.samples
    mask = np.arange(length) >= length // 2
    return [Sample(str(i), np.arange(5, 5 + length, dtype=np.int32), mask) for i in range(shape.samples)]


def module_of(net: Any, tokens: int, scales: bool) -> Any:
    """The training module around a net on the fake card."""
    import pytorch_lightning as pl
    import torch
    from fake_card_parts.nets import CARD

    from hafs.training.module import FineTuningModule
    from hafs.training.stage import Stage

    run: Any = SimpleNamespace(event=lambda *_, **__: None, checkpoints=SimpleNamespace())
    stop: Any = None
    module = FineTuningModule(
        net, optimizer=partial(torch.optim.AdamW, lr=1e-4), seed=7, micro_batch_tokens=tokens, max_grad_norm=1.0,
        run=run, tokenizer=None, stop=stop, scales_loss=scales,
    )  # fmt: skip
    module._device = CARD
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, barebones=True)
    trainer.strategy.connect(module)
    module.trainer = trainer
    stage = Stage(
        name="main", samples=None, epochs=1, lr=1e-4, batch_size=8, schedule="constant", warmup_steps=0,
        validation="end", rows="all", preference=None,
    )  # fmt: skip
    module.begin(stage, 1, 8)
    return module


def step(module: Any, shape: Shape, watch: Any, turn: int) -> None:
    """One packed sequence of a step, and at the end of the first one the optimizer's states.

    The second one finds gradients of the first one, as all but the first one of a step do.
    """
    import torch

    watch.begin(f"gradients {turn}")
    module._gradients(samples_of(shape))
    watch.begin(f"update {turn}")
    trained = list(module.trainable().values())
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    if not turn:
        module.states = [(torch.empty_like(p), torch.empty_like(p)) for p in trained]


def counted(shape: Shape, options: argparse.Namespace, dtype: Any) -> dict[str, Any]:
    """Two packed sequences of one shape on a fresh net; the second one counts."""
    import torch
    from fake_card_parts.nets import CARD, on_meta, to_card
    from fake_card_parts.watch import Watch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoConfig

    config = config_of(options)
    net = on_meta(AutoConfig.for_model(**config), rank=shape.rank, dtype=dtype)
    watch = Watch()
    with FakeTensorMode(allow_non_fake_inputs=True), watch:
        to_card(net, embedding_on_cpu=shape.embedding == "cpu")
        loaded, module = watch.live, module_of(net, shape.tokens, dtype == torch.float16)
        for turn in (0, 1):
            step(module, shape, watch, turn)
    peak = max(watch.peak["gradients 1"], watch.peak["update 1"])
    planned = plan(config, shape, dtype, torch.cuda.get_device_capability())
    layers, kernels = config["num_hidden_layers"], watch.of(watch.kernels, "gradients 1")
    copies, on_cpu = watch.of(watch.copies, "gradients 1"), watch.of(watch.on_cpu, "gradients 1")
    return {
        **shape._asdict(),
        "device": str(CARD),
        "layers": layers,
        "fused": options.kernels,
        "dtype": str(dtype).removeprefix("torch."),
        "loaded_gib": round(loaded / GIB, 3),
        "peak_gib": round(peak / GIB, 3),
        "planned_gib": round(planned / GIB, 3),
        "plan_error": round(planned / peak - 1, 4),
        "kernels_per_layer": round(sum(kernels.values()) / layers, 1),
        "gigabytes_touched": round(watch.touched["gradients 1"] / 1e9, 1),
        "host_copies": sum(copies.values()),
        "host_copies_at": dict(copies.most_common(6)),
        "cpu_operations": dict(on_cpu.most_common(6)),
        "kernels": dict(kernels.most_common(12)),
    }


def config_of(options: argparse.Namespace) -> dict[str, Any]:
    """The model's config, with as many layers as were asked for."""
    from hafs.planning.architecture import entries

    config = dict(entries()[options.model]["config"])
    return config | ({"num_hidden_layers": options.layers} if options.layers else {})


def plan(config: Mapping[str, Any], shape: Shape, dtype: Any, capability: tuple[int, ...]) -> int:
    """Bytes that the plan says of the same step, without what no tensor takes: context and allocator."""
    from hafs.planning.architecture import described
    from hafs.planning.memory import Constants, Setup, terms, total
    from hafs.planning.workload import SequenceShape

    setup = Setup(
        bits=4, double=True, rank=shape.rank, targets="all-linear", dora=False, dropout=0.0, eight_bit_optimizer=False,
        checkpointing=True, embedding_on_cpu=shape.embedding == "cpu", product_bytes=dtype.itemsize, device="cuda",
        flash=dtype.itemsize == 2 and capability >= (8, 0),
    )  # fmt: skip
    length = shape.tokens // shape.samples
    row = SequenceShape(
        tokens=shape.tokens, samples=shape.samples, longest=length, short_squares=0.0, long_tokens=shape.tokens,
        supervised=shape.samples * (length - length // 2),
    )  # fmt: skip
    return total(terms(described(config), setup, row, Constants(context_bytes=0, slack=0.0, source="")))


def main(typed: Sequence[str] | None = None) -> None:
    options = arguments(typed)
    restart_with_it(sys.orig_argv[1:])
    import torch
    from fake_card_parts.kernels import stand_in

    from hafs.modeling.hardware import precision

    stand_in(fuse=options.kernels != "none", liger=options.kernels == "liger")
    capability = tuple(int(part) for part in options.capability.split("."))
    torch.cuda.get_device_capability = lambda *_: capability
    torch.cuda.is_bf16_supported = lambda **_: capability >= (8, 0)
    dtype, _ = precision(options.precision or "auto", torch.device("cuda", 0))
    found = []
    for text in options.shapes.split(","):
        found.append(counted(Shape.of(text), options, dtype))
        print(json.dumps(found[-1], indent=None if options.out else 1), flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
