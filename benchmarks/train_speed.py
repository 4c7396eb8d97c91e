"""hafs beside TRL's SFTTrainer and beside a bare loop: the same rows, the same machine, one run.

    python benchmarks/train_speed.py                 three interleaved rounds, medians, a table
    python benchmarks/train_speed.py --write         the table goes into docs/benchmarks.md too
    python benchmarks/train_speed.py --rounds 1 --layout 2

TRL gets an environment of its own (`.venv-trl`), the same versions of torch, transformers, peft and bitsandbytes, and
the split of the effective batch over micro-batches that is fastest for it here: all four are tried first.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contestants.arena import Measured, load, run_bare, run_hafs, run_trl, script, setup_trl
from contestants.table import Trial, markdown, show, write

SAMPLES, BATCH = 64, 8
WORDS = [
    "experiment=none",
    "dataset=alttp_asm",
    "dataset.val_fraction=0.03",
    "stage=main",
    f"stage.main.samples={SAMPLES}",
    f"stage.main.batch_size={BATCH}",
    "stage.main.epochs=1",
    "stage.main.lr=5e-4",
    "stage.main.schedule=constant",
    "stage.main.warmup_steps=0",
    "stage.main.validation=end",
    "trainer=cpu",
    "logger=none",
    "on_worse=continue",
    "show.prompts=0",
    "show.measured=0",
]
"""What the door is told; the rows of all contestants are those that it trains on for these words."""
TRIAL_SAMPLES = 24


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs")
    parser.add_argument("--layout", type=int, choices=[1, 2, 4, 8], help="TRL's micro-batch, instead of trying all")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="contestants to leave out")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--work", type=Path, help="keep everything in this folder instead of a temporary one")
    return parser.parse_args()


def shared_spec(work: Path) -> dict[str, Any]:
    """Rows and settings that every contestant gets."""
    rows = work / "rows.json"
    facts, _ = script("rows.py", _python(), {"words": WORDS, "rows": str(rows)}, work / "rows")
    return facts | {"rows": str(rows), "samples": SAMPLES}


def _python() -> str:
    import sys

    return sys.executable


def rows_a_step(spec: dict[str, Any]) -> int:
    """Packed rows that hold about one effective batch: the nearest whole number, at least one."""
    train = json.loads(Path(spec["rows"]).read_text())["train"]
    mean = sum(len(row["tokens"]) for row in train) / len(train)
    return max(1, round(BATCH * mean / spec["row_tokens"]))


def unpacked(spec: dict[str, Any], micro: int, *, checkpointing: bool = False) -> dict[str, Any]:
    """TRL's settings without packing."""
    return spec | {
        "packing": False,
        "micro": micro,
        "accumulate": BATCH // micro,
        "checkpointing": checkpointing,
    }


def packed(spec: dict[str, Any]) -> dict[str, Any]:
    """TRL's settings with its best-fit packing; a step is as many rows as come nearest to the effective batch."""
    return spec | {"packing": True, "micro": 1, "accumulate": rows_a_step(spec), "checkpointing": False}


def trials(spec: dict[str, Any], work: Path) -> list[Trial]:
    """TRL in every layout on a few samples, and once as it comes: with gradient checkpointing."""
    few = spec | {"samples": TRIAL_SAMPLES}
    layouts = [(micro, False) for micro in (1, 2, 4, 8)] + [(8, True)]
    done = []
    for micro, checkpointing in layouts:
        where = work / f"trial-{micro}{'-checkpointing' if checkpointing else ''}"
        run = run_trl(unpacked(few, micro, checkpointing=checkpointing), where)
        done.append(Trial(micro=micro, accumulate=BATCH // micro, checkpointing=checkpointing, run=run))
        print(done[-1], flush=True)
    return done


def contestants(spec: dict[str, Any], micro: int) -> dict[str, Callable[[Path], Measured]]:
    """Who runs, by name, in the order of a round."""
    return {
        "trl": lambda where: run_trl(unpacked(spec, micro), where),
        "trl packed": lambda where: run_trl(packed(spec), where),
        "bare loop": lambda where: run_bare(spec, where),
        "hafs": lambda where: run_hafs(WORDS, where),
    }


def judge(spec: dict[str, Any], runs: dict[str, list[Measured]], work: Path) -> dict[str, Any]:
    """Held-out losses of the adapters of the last round, and what the first losses had to be."""
    last = {name: measured[-1] for name, measured in runs.items()}
    question = {
        "adapters": {name: run.adapter for name, run in last.items()},
        "firsts": {name: run.first for name, run in last.items()},
    }
    facts, _ = script("held_out.py", _python(), spec | question, work / "judge")
    for name, run in last.items():
        expected = facts["firsts"][name]
        if abs(run.first_loss - expected) > 0.01 * expected:
            raise SystemExit(f"{name}: first loss {run.first_loss:.4f}, but the base says {expected:.4f}: other tokens?")
    return facts


def compare(options: argparse.Namespace, work: Path) -> None:
    """Try TRL's layouts, run the rounds, judge, print."""
    setup_trl()
    spec = shared_spec(work)
    tried = [] if options.layout else trials(spec, work)
    fastest = max((t for t in tried if not t.checkpointing), key=lambda t: t.run.tokens_per_second, default=None)
    who = contestants(spec, fastest.micro if fastest else options.layout)
    who = {name: run for name, run in who.items() if name not in options.without}
    runs: dict[str, list[Measured]] = {name: [] for name in who}
    for number in range(options.rounds):
        for name, run in who.items():
            before = load()
            runs[name].append(run(work / f"round-{number}" / name.replace(" ", "-")))
            speed, peak = runs[name][-1].tokens_per_second, runs[name][-1].peak_bytes
            print(f"round {number + 1}: {name:10} {speed:6.1f} tokens/s {peak / 2**30:5.2f} GiB (load {before:.1f})", flush=True)
    verdict = judge(spec, runs, work)
    text = markdown(runs, verdict, tried, spec, rows_a_step=rows_a_step(spec))
    show(text)
    if options.write:
        write(text)


def main() -> None:
    options = arguments()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        compare(options, options.work.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="train-speed-") as folder:
        compare(options, Path(folder))


if __name__ == "__main__":
    main()
