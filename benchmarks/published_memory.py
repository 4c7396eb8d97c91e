"""What `hafs plan` says beside what others measured: memory of 4-bit LoRA training on one GPU.

    python benchmarks/published_memory.py            the table of docs/explanation/planning.md

The measurements are those printed in Unsloth's notebooks (github.com/unslothai/notebooks, one Tesla T4 each, float16,
gradient checkpointing with offloading to CPU memory, 8-bit AdamW, rows of up to 2,048 tokens).
"""

from typing import NamedTuple

from hafs.modeling.hardware import GIB
from hafs.planning.architecture import described, entries
from hafs.planning.memory import Constants, Setup, staying, terms, total
from hafs.planning.workload import SequenceShape


class Published(NamedTuple):
    """One notebook: what it trains, and GiB reserved after loading and at the peak."""

    notebook: str
    model: str
    rank: int
    batch: int
    loaded: float
    peak: float


NOTEBOOKS = [
    Published("Qwen2.5_Coder_(14B)-Conversational", "qwen14b", 16, 1, 10.287, 13.24),
    Published("Qwen3_(14B)-Reasoning-Conversational", "qwen3_14b", 32, 2, 11.898, 14.508),
    Published("Phi_4-Conversational", "phi4_14b", 16, 2, 10.043, 12.361),
    Published("Llama3.1_(8B)-Alpaca", "llama31_8b", 16, 2, 5.984, 7.922),
    Published("Mistral_Nemo_(12B)-Alpaca", "mistral_nemo_12b", 16, 2, 8.588, 10.68),
]
SLACK = Constants(context_bytes=0, slack=0.08, source="without the context: the notebooks print what torch reserved")


def planned(one: Published, tokens: int) -> tuple[float, float]:
    """GiB that stay, and GiB at the peak, for rows of so many tokens."""
    setup = Setup(
        bits=4, double=True, rank=one.rank, targets="all-linear", dora=False, dropout=0.0, eight_bit_optimizer=True,
        checkpointing=True, embedding_on_cpu=False, product_bytes=2, device="cuda",
    )  # fmt: skip
    row = SequenceShape(
        tokens=tokens, samples=one.batch, longest=tokens, short_squares=0.0, long_tokens=tokens, supervised=tokens // 2
    )
    parts = terms(described(entries()[one.model]["config"]), setup, row, SLACK)
    weights = sum(part.bytes for part in parts if part.name in ("4-bit weights", "scales", "not quantized"))
    assert weights <= staying(parts)
    return weights / GIB, total(parts) / GIB


def main() -> None:
    print("| notebook | loaded: measured | planned | peak: measured | planned, 512 | planned, 2,048 a sample |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for one in NOTEBOOKS:
        weights, short = planned(one, 512 * one.batch)
        _, long = planned(one, 2048 * one.batch)
        print(
            f"| {one.notebook}, r={one.rank}, batch {one.batch}x4 | {one.loaded:.2f} | {weights:.2f} | {one.peak:.2f} "
            f"| {short:.2f} ({short / one.peak - 1:+.0%}) | {long:.2f} ({long / one.peak - 1:+.0%}) |"
        )


if __name__ == "__main__":
    main()
