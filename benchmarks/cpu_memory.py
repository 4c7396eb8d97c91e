"""What `hafs plan` says of memory beside what training really takes, on this machine's CPU.

    python benchmarks/cpu_memory.py                  every configuration in a fresh process, then the table
    python benchmarks/cpu_memory.py --only 1,2       some of them
    python benchmarks/cpu_memory.py --measured       take the last measurements again, plan anew
    python benchmarks/cpu_memory.py --write          put the table into docs/explanation/planning.md

The figure is the peak of the process' resident memory (`ru_maxrss`) over a whole run of the train command: loading,
measuring the base, two optimizer steps or more, saving, measuring again.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "cpu_memory.json"
PAGE, MARK = ROOT / "docs" / "planning.md", "cpu_memory"
MIB = 2**20
CHECKPOINTING = "model.gradient_checkpointing=true"

COMMON = [
    "experiment=none",
    "dataset=jsonl",
    "dataset.path=rows.jsonl",
    "stage=main",
    "stage.main.epochs=1",
    "trainer=cpu",
    "logger=none",
    "on_worse=continue",
    "show.prompts=0",
    "show.measured=0",
    "callbacks.generations.prompts=0",
]


def case(model: str, row: int, *words: str, sample: int = 128, ragged: bool = False) -> dict[str, Any]:
    """A configuration whose steps are two full rows of `row` tokens.

    Args:
        model: Of the catalogue.
        row: Tokens.
        words: What else to change.
        sample: Tokens of a sample, about; of the longest one, where they are ragged.
        ragged: Samples of a quarter to the whole of `sample` tokens, and six steps in place of two.
    """
    batch, steps = 2 * int(row / (sample * 0.625 if ragged else sample)), 6 if ragged else 2
    sizes = [f"stage.main.batch_size={batch}", f"stage.main.samples={steps * batch}", f"micro_batch_tokens={row}"]
    rows = int((steps + 0.5) * batch) + 8
    return {"words": [f"model={model}", *sizes, *words], "sample": sample, "rows": rows, "ragged": ragged}


CASES = [
    case("smollm2_135m", 1024),
    case("smollm2_135m", 512),
    case("smollm2_135m", 2048),
    case("smollm2_135m", 1024, "adapter.r=64"),
    case("smollm2_135m", 1024, CHECKPOINTING),
    case("smollm2_135m", 2048, CHECKPOINTING, "adapter.r=32"),
    case("smollm2_135m", 1024, "quant=none"),
    case("smollm2_135m", 512, "adapter=none", "quant=none"),
    case("smollm2_135m", 1024, "adapter=none", "quant=none", CHECKPOINTING),
    case("smollm2_135m", 512, "precision=fp32"),
    case("smollm2_135m", 1024, sample=512),
    case("smollm2_135m", 768, sample=768),
    case("smollm2_135m", 512, "adapter.r=128", "quant=fp4"),
    case("tiny", 1024, "quant=nf4"),
    case("tiny", 2048, "quant=none", "adapter.r=4"),
    case("tiny", 1024, "adapter=none", "quant=none"),
    case("smollm2_135m", 1536, "adapter.r=8", sample=256),
    case("smollm2_135m", 768, "adapter.r=32", "quant=fp4", sample=96),
    case("smollm2_135m", 1024, "quant=int8"),
    case("smollm2_135m", 3072, "adapter.r=8", CHECKPOINTING, sample=192),
    case("smollm2_135m", 1280, "adapter.r=24", "quant=none", sample=256),
    case("smollm2_135m", 768, "adapter=none", "quant=none"),
    case("smollm2_135m", 1152, "adapter.r=16", sample=384),
    case("tiny", 3072, "adapter=none", "quant=none", sample=256),
    case("tiny", 1536, "quant=int8", "adapter.r=32"),
    case("tiny", 4096, "quant=fp4", "adapter.r=8", sample=256),
    case("smollm2_135m", 1024, sample=256, ragged=True),
    case("smollm2_135m", 1536, CHECKPOINTING, sample=384, ragged=True),
    case("smollm2_135m", 768, "quant=none", sample=128, ragged=True),
    case("tiny", 2048, sample=256, ragged=True),
    case("smollm2_135m", 1024, "precision=fp32", "quant=none"),
    case("smollm2_135m", 1024, "precision=fp32", CHECKPOINTING),
    case("smollm2_135m", 1600, "adapter.r=8", "quant=fp4", "precision=fp32", sample=160),
    case("smollm2_135m", 1440, "adapter=none", "quant=none", "precision=fp32", sample=96),
    case("smollm2_135m", 640, "adapter.r=96", "quant=int8", CHECKPOINTING, "precision=fp32", sample=640),
    case("smollm2_135m", 3008, "adapter.r=24", "quant=none", sample=64, ragged=True),
]


def drawn(dice: random.Random, model: str, *, ragged: bool) -> dict[str, Any]:
    """Any configuration that trains in minutes here."""
    sample = dice.choice([64, 96, 128, 160, 256, 384, 640])
    most = 3072 if model == "smollm2_135m" else 4096
    row = sample * dice.randint(math.ceil(512 / sample), most // sample)
    if dice.random() < 0.2:
        words = ["adapter=none", "quant=none"]
    else:
        words = [f"adapter.r={dice.choice([4, 8, 24, 48, 96])}", f"quant={dice.choice(['nf4', 'fp4', 'int8', 'none'])}"]
    words += [CHECKPOINTING] * (dice.random() < 0.35)
    words += ["precision=fp32"] * (dice.random() < 0.3)
    return case(model, row, *words, sample=sample, ragged=ragged)


def held_out(seed: int, large: int, small: int) -> list[dict[str, Any]]:
    """Configurations that nobody chose, every third of ragged samples."""
    dice = random.Random(seed)
    models = ["smollm2_135m"] * large + ["tiny"] * small
    return [drawn(dice, model, ragged=i % 3 == 0) for i, model in enumerate(models)]


LOOKED_AT = [*held_out(20261201, 15, 5), *held_out(20261202, 9, 3), *held_out(20261203, 9, 3)]
"""Their errors were seen before the plan was changed for the last time."""
HELD_OUT = held_out(20261204, 9, 3)
"""Measured last; nothing was changed after their errors were seen."""
ALL = [*CASES, *LOOKED_AT, *HELD_OUT]


def write_rows(path: Path, one: dict[str, Any]) -> None:
    """Rows of nearly the same number of tokens, or ragged ones, half of them in the answer."""
    tokens = one["sample"]
    dice = random.Random(tokens)
    words = [" red", " stone", " water", " light", " open", " hand", " north", " time", " small", " river"]
    with path.open("w") as file:
        for _ in range(one["rows"]):
            length = dice.randint(tokens // 4, tokens) if one["ragged"] else tokens
            half = max(2, (length - 36) // 2)  # the template and the end token take the rest
            texts = ["".join(dice.choices(words, k=half)).strip() for _ in range(2)]
            file.write(json.dumps({"instruction": texts[0], "output": texts[1]}) + "\n")


def peak_bytes(words: list[str], here: Path) -> int:
    """Peak resident memory of one training run.

    Raises:
        SystemExit: The run failed.
    """
    log = here / "log.txt"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "hafs.train", *COMMON, *words, "name=run"], cwd=here, stdout=out, stderr=out, env=env
        )
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed:\n{log.read_text()[-2000:]}")
    return usage.ru_maxrss * 1024


def predicted(words: list[str], here: Path) -> dict[str, Any]:
    """What the plan says for the same words and the same rows, counted."""
    count_tokens(words, here)
    typed = [
        sys.executable,
        "-m",
        "hafs",
        "plan",
        *COMMON,
        *words,
        "hardware=local",
        "calibration=null",
        "json=true",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(typed, cwd=here, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def count_tokens(words: list[str], here: Path) -> None:
    """Leave the note that validation leaves in the cache."""
    kept = ("dataset", "model=", "seed")
    typed = [word for word in [*COMMON, *words] if word.startswith(kept)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hafs", "validate", *typed]
    subprocess.run(command, cwd=here, env=env, capture_output=True, check=True)


def measure(chosen: list[int]) -> None:
    """Run the chosen configurations one after the other and keep what they took."""
    known = {key(one) for one in ALL}
    kept = {name: peak for name, peak in json.loads(RESULTS.read_text()).items() if name in known}
    for number in chosen:
        one = ALL[number]
        with tempfile.TemporaryDirectory(prefix="cpu-memory-") as folder:
            write_rows(Path(folder) / "rows.jsonl", one)
            peak = peak_bytes(one["words"], Path(folder))
        kept[key(one)] = peak
        print(f"{key(one):110} {peak / MIB:7.0f} MiB", flush=True)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def key(one: dict[str, Any]) -> str:
    return (
        " ".join(one["words"]).replace("stage.main.", "")
        + f" ({'up to ' * one['ragged']}{one['sample']}-token samples)"
    )


GROUPS = {
    "to which the constants were fitted": CASES,
    "drawn by dice, their errors seen before the last change": LOOKED_AT,
    "drawn by dice, their errors seen when all was decided": HELD_OUT,
}


def planned_bytes(one: dict[str, Any]) -> int:
    """What the plan says of a configuration."""
    with tempfile.TemporaryDirectory(prefix="cpu-memory-") as folder:
        write_rows(Path(folder) / "rows.jsonl", one)
        return predicted(one["words"], Path(folder))["memory"]["total"]


def table(chosen: list[int]) -> str:
    """Measured beside planned, and the errors."""
    kept = json.loads(RESULTS.read_text())
    cases = [ALL[number] for number in chosen]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = dict(zip(map(key, cases), pool.map(planned_bytes, cases), strict=True))
    lines = ["| configuration | measured MiB | planned MiB | error |", "| --- | ---: | ---: | ---: |"]
    sums = []
    for kind, group in GROUPS.items():
        errors = []
        lines.append(f"| **{kind}** | | | |")
        for one in group:
            name = key(one)
            if name not in said:
                continue
            errors.append(said[name] / kept[name] - 1)
            lines.append(f"| `{name}` | {kept[name] / MIB:,.0f} | {said[name] / MIB:,.0f} | {errors[-1]:+.1%} |")
        if errors:
            sizes = [abs(error) for error in errors]
            mean = sum(sizes) / len(sizes)
            sums.append(f"\n{len(sizes)} configurations {kind}: mean error {mean:.1%}, worst {max(sizes):.1%}.")
    return "\n".join([*lines, *sums])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="numbers of configurations, from 1, with commas")
    parser.add_argument("--measured", action="store_true", help="do not measure again")
    parser.add_argument("--write", action="store_true", help="put the table into docs/explanation/planning.md")
    options = parser.parse_args()
    chosen = [int(n) - 1 for n in options.only.split(",")] if options.only else list(range(len(ALL)))
    if not options.measured:
        measure(chosen)
    text = table(chosen)
    print(text)
    if options.write:
        before, rest = PAGE.read_text().split(f"<!-- {MARK}: begin -->")
        after = rest.split(f"<!-- {MARK}: end -->")[1]
        PAGE.write_text(f"{before}<!-- {MARK}: begin -->\n{text}\n<!-- {MARK}: end -->{after}")


if __name__ == "__main__":
    main()
