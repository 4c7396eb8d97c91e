"""How fast, and in how much memory, rows become tokenized splits: `python benchmarks/data_speed.py [--gigabyte]`.

Writes a file of made-up rows (34,500 of about 150 tokens, or 1 GB of them) into a temporary folder, prepares it twice,
and prints the seconds of both and the peak memory of the whole process.
"""

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

import orjson

ROWS = 34_500
GIGABYTE = 1_000_000_000
WORDS = (  # noqa: SIM905
    "the routine loads accumulator with value stores it into address increments index register and branches back when "
    "zero flag is clear LDA STA LDX INX DEX BNE BEQ loop sprite table bank pointer direct page stack frame counter "
    "palette tile map collision item flag dungeon room overworld camera scroll timer sound queue buffer"
).split()


def row(dice: random.Random) -> dict[str, str]:
    task = " ".join(dice.choices(WORDS, k=14))
    code = "\n".join(f"  LDA ${dice.randrange(1 << 16):04X} ; {' '.join(dice.choices(WORDS, k=3))}" for _ in range(7))
    return {
        "instruction": f"Write a routine: {task}.",
        "input": "",
        "output": f"{code}\n{' '.join(dice.choices(WORDS, k=8))}.",
    }


def write_rows(path: Path, *, gigabyte: bool) -> int:
    dice, size, count = random.Random(1), 0, 0
    with path.open("wb") as file:
        while size < GIGABYTE if gigabyte else count < ROWS:
            size += file.write(orjson.dumps(row(dice)) + b"\n")
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabyte", action="store_true", help="a file of 1 GB instead of 34,500 rows")
    parser.add_argument("--tokenizer", required=True, help="folder or hub name of a tokenizer with a chat template")
    asked = parser.parse_args()
    from transformers import AutoTokenizer

    from hafs.dataset import jsonl, prepare

    tokenizer = AutoTokenizer.from_pretrained(asked.tokenizer)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_rows(folder / "rows.jsonl", gigabyte=asked.gigabyte)
        dataset = jsonl(
            name="speed", path=str(folder / "rows.jsonl"), max_length=1024, overlong="reject", val_fraction=0.1,
            test_fraction=0.05, max_rejected=0.05, near_duplicate_threshold=0.85, drop_near_duplicates=False,
            system=None, max_samples=None,
        )  # fmt: skip
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for attempt in ("first", "second"):
            start = time.perf_counter()
            prepared = prepare(dataset, tokenizer, seed=1, cache=folder / "cache")
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            tokens = prepared.report.tokens
            done = f"{attempt}: {count:,} rows, {tokens:,} tokens, {seconds:.2f} s"
            print(f"{done}, peak {peak:.0f} MB (imports {base:.0f} MB)", flush=True)


if __name__ == "__main__":
    main()
