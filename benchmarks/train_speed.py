"""hafs beside TRL's SFTTrainer and beside a bare loop: the same rows, the same machine, one run.

    python benchmarks/train_speed.py                 three interleaved rounds, medians, a table
    python benchmarks/train_speed.py --write         the table goes into docs/explanation/benchmarks.md too
    python benchmarks/train_speed.py --rounds 1 --layout 2

TRL gets an environment of its own (`.venv-trl`), the same versions of torch, transformers, peft and bitsandbytes, and
the split of the effective batch over forward passes that is fastest for it here: all four are tried first.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from contestants.arena import Measured, run_bare, run_hafs, run_trl, script, setup_trl
from contestants.table import GIB, Trial, markdown, versions, write
from contestants.watch import wait_until_idle

SAMPLES, BATCH, TRIAL_SAMPLES = 64, 8, 24
QUIET, ATTEMPTS = 0.05, 3
"""A run during which others used more of the machine than this share is repeated, so often at most."""
WORDS = [
    "experiment=none",
    "dataset=alttp_asm",
    "dataset.val_fraction=0.035",
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
"""What the command is told; the rows of all contestants are those that it trains on for these words."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant runs")
    parser.add_argument("--layout", type=int, choices=[1, 2, 4, 8], help="TRL's samples a pass, instead of trying all")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for an idle machine before a run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/explanation/benchmarks.md")
    parser.add_argument("--work", type=Path, help="keep logs and adapters in this folder")
    return parser.parse_args()


def shared_spec(work: Path) -> dict[str, Any]:
    """Rows and settings that every contestant gets."""
    rows = work / "rows.json"
    facts, _ = script("rows.py", sys.executable, {"words": WORDS, "rows": str(rows)}, work / "rows")
    return facts | {"rows": str(rows), "samples": SAMPLES}


def lengths_of(spec: dict[str, Any]) -> list[int]:
    """Tokens of each training sample."""
    return [len(row["tokens"]) for row in json.loads(Path(spec["rows"]).read_text())["train"]]


def best_fit(lengths: list[int], capacity: int) -> int:
    """Rows that best-fit decreasing, TRL's packing, makes of these samples."""
    free: list[int] = []
    for length in sorted(lengths, reverse=True):
        room = min((i for i, left in enumerate(free) if left >= length), key=free.__getitem__, default=None)
        if room is None:
            free.append(capacity - length)
        else:
            free[room] -= length
    return len(free)


def even_rows(spec: dict[str, Any]) -> tuple[int, int]:
    """The row length at which packing makes as many steps as there are effective batches, and the rows of a step."""
    lengths = lengths_of(spec)
    steps = -(-len(lengths) // BATCH)
    rows = -(-sum(lengths) // steps // spec["row_tokens"])
    capacity = max(*lengths, sum(lengths) // (steps * rows))
    while best_fit(lengths, capacity) > steps * rows:
        capacity += 1
    return capacity, rows


def unpacked(spec: dict[str, Any], micro: int, *, checkpointing: bool = False) -> dict[str, Any]:
    """TRL's settings without packing: `micro` samples a pass, passes until the effective batch is full."""
    return spec | {"packing": False, "micro": micro, "accumulate": BATCH // micro, "checkpointing": checkpointing}


def packed(spec: dict[str, Any]) -> dict[str, Any]:
    """TRL's settings with its best-fit packing; a step is as many whole rows as come nearest to the effective batch."""
    lengths = lengths_of(spec)
    rows = max(1, round(best_fit(lengths, spec["row_tokens"]) * BATCH / len(lengths)))
    return spec | {"packing": True, "micro": 1, "accumulate": rows, "checkpointing": False}


def packed_evenly(spec: dict[str, Any]) -> dict[str, Any]:
    """TRL's packing with rows of such a length that a step holds the effective batch, on average exactly."""
    capacity, rows = even_rows(spec)
    return packed(spec) | {"row_tokens": capacity, "accumulate": rows}


def trials(spec: dict[str, Any], work: Path, patience: float) -> list[Trial]:
    """TRL in every layout on a few samples, and once with gradient checkpointing, which is its default."""
    few = spec | {"samples": TRIAL_SAMPLES}
    done = []
    for micro, checkpointing in [(1, False), (2, False), (4, False), (8, False), (8, True)]:
        layout = unpacked(few, micro, checkpointing=checkpointing)
        where = work / f"trl-{micro}x{BATCH // micro}{'-checkpointing' * checkpointing}"
        run = undisturbed(partial(run_trl, layout), where, patience)
        done.append(Trial(micro=micro, accumulate=BATCH // micro, checkpointing=checkpointing, run=run))
    return done


def fastest(tried: list[Trial]) -> int:
    """Samples a pass of TRL's fastest layout."""
    return max(tried, key=lambda trial: trial.run.tokens_per_second * (not trial.checkpointing)).micro


def contestants(spec: dict[str, Any], micro: int) -> dict[str, Callable[[Path], Measured]]:
    """Who runs, by name, in the order of a round."""
    return {
        "trl": lambda where: run_trl(unpacked(spec, micro), where),
        "trl packed": lambda where: run_trl(packed(spec), where),
        "trl packed evenly": lambda where: run_trl(packed_evenly(spec), where),
        "bare loop": lambda where: run_bare(spec, where),
        "hafs": lambda where: run_hafs(WORDS, where),
    }


def undisturbed(run: Callable[[Path], Measured], where: Path, patience: float) -> Measured:
    """A run during which others left the machine alone, or the least disturbed of three."""
    attempts: list[Measured] = []
    while len(attempts) < ATTEMPTS and not (attempts and attempts[-1].others < QUIET):
        wait_until_idle(patience)
        attempts.append(run(where / f"attempt-{len(attempts) + 1}"))
        tell(f"{where.name}{' again' * (len(attempts) > 1)}", attempts[-1])
    return min(attempts, key=lambda attempt: attempt.others)


def rounds(who: dict[str, Callable[[Path], Measured]], options: argparse.Namespace, work: Path) -> dict[str, list]:
    """Everybody once, then everybody again; each round begins with another contestant."""
    runs: dict[str, list[Measured]] = {name: [] for name in who}
    names = list(who)
    for number in range(options.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            where = work / f"round-{number + 1}" / name.replace(" ", "-")
            runs[name].append(undisturbed(who[name], where, options.patience))
    return runs


def tell(what: str, run: Measured) -> None:
    """One line for whoever is watching."""
    print(
        f"{what:32} {run.tokens_per_second:6.1f} tokens/s {run.peak_bytes / GIB:5.2f} GiB "
        f"{run.tokens_per_cpu_second:6.1f} tokens/cpu s, others {run.others:4.0%}",
        flush=True,
    )


def judge(spec: dict[str, Any], runs: dict[str, list[Measured]], work: Path) -> dict[str, Any]:
    """Held-out losses of the last round's adapters, and what the first losses should have been.

    Raises:
        SystemExit: A contestant's first loss is more than 2 % off: it did not look at the same tokens.
    """
    last = {name: done[-1] for name, done in runs.items()}
    question = {
        "adapters": {name: run.adapter for name, run in last.items()},
        "firsts": {name: run.first for name, run in last.items()},
    }
    facts, _ = script("held_out.py", sys.executable, spec | question, work / "judge")
    for name, run in last.items():
        expected = facts["firsts"][name]
        if abs(run.first_loss - expected) > 0.02 * expected:
            raise SystemExit(f"{name} says {run.first_loss:.4f} of its first step, the judge {expected:.4f}")
    return facts


def typed(options: argparse.Namespace) -> str:
    """The command, with what changes the result."""
    layout = f" --layout {options.layout}" if options.layout else ""
    return f"python benchmarks/train_speed.py --rounds {options.rounds}{layout}"


def how_trl_ran(spec: dict[str, Any], micro: int, runs: dict[str, list[Measured]]) -> str:
    """TRL's settings in words."""
    rows, (capacity, even) = packed(spec)["accumulate"], even_rows(spec)
    average = runs["trl packed"][-1].samples / runs["trl packed"][-1].steps
    return (
        f"TRL runs in bf16 without gradient checkpointing and with its defaults otherwise: {micro} x {BATCH // micro} "
        f"samples a step; packed (best fit, {spec['row_tokens']} tokens) {rows} x 1 row, which is {average:.1f} "
        f"samples a step and so more steps; packed evenly, {even} x 1 rows of {capacity} tokens, chosen so that "
        "a step holds 8 samples like those of the others."
    )


def compare(options: argparse.Namespace, work: Path) -> None:
    """Try TRL's layouts, run the rounds, judge, print."""
    setup_trl()
    versions()  # refuses environments that differ
    spec = shared_spec(work)
    tried = [] if options.layout else trials(spec, work, options.patience)
    micro = options.layout or fastest(tried)
    runs = rounds(contestants(spec, micro), options, work)
    chosen = how_trl_ran(spec, micro, runs)
    text = markdown(runs, judge(spec, runs, work), tried, chosen, typed(options))
    print(f"\n{text}")
    if options.write:
        write(text)


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="train-speed-") as folder:
        work = (options.work or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        compare(options, work)


if __name__ == "__main__":
    main()
