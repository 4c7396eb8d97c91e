"""The result as Markdown: printed, and on request kept in a marked section of docs/explanation/benchmarks.md."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from contestants.arena import ROOT, TRL_ENVIRONMENT, Measured

PAGE = ROOT / "docs/explanation/benchmarks.md"
NAME = "train_speed"
GIB = 2**30
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "trl")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """TRL on a few samples with one split of the effective batch."""

    micro: int
    """Samples of one forward pass."""
    accumulate: int
    """Forward passes of one step."""
    checkpointing: bool
    """Whether activations are recomputed (TRL's default)."""
    run: Measured
    """How it went."""


def middle(runs: Sequence[Measured], field: str) -> float:
    """The median of a field over the rounds."""
    return median(getattr(run, field) for run in runs)


def markdown(
    runs: dict[str, list[Measured]], verdict: dict[str, Any], trials: Sequence[Trial], chosen: str, command: str
) -> str:
    """Everything that was found, with what is needed to judge it.

    Args:
        runs: Of each contestant, round by round.
        verdict: What the judge wrote: `losses` and `firsts`.
        trials: Of TRL's layouts; empty if none were made.
        chosen: How TRL was configured in the rounds, in words.
        command: What was typed.
    """
    rounds = max(len(done) for done in runs.values())
    parts = [
        "## Training: hafs beside TRL's SFTTrainer and beside a bare loop",
        f"`{command}`, {time.strftime('%Y-%m-%d')}, {machine()}. {versions()}.",
        _contest(runs, verdict),
        _ratios(runs, verdict),
        f"Medians of {rounds} interleaved round{'s' * (rounds > 1)}; the base's held-out loss is "
        f"{verdict['losses']['base']:.4f}. " + RULES.format(chosen=chosen, first=_first(runs, verdict)),
    ]
    if trials:
        parts += ["TRL's layouts, on three steps each:", _trials(trials)]
    return "\n\n".join(parts) + "\n"


RULES = (
    "All train SmolLM2-135M-Instruct (NF4 with double quantization, LoRA r=16 on all linear layers, AdamW at a "
    "constant rate, gradients clipped to norm 1) for one pass over the same token ids with the same supervised tokens, "
    "from the same initial adapter, each in a process of its own without a GPU. {chosen} Rates are taken from the end "
    "of the first optimizer step to the end of the last one (callbacks, logging and data loading included; loading, "
    "evaluation and the first step are not) and count real tokens, never padding. The peak is the largest resident "
    "memory of the whole process; hafs' includes two evaluations and sample generations, which the others do not do. "
    "The held-out loss of every saved adapter is computed by one judge with transformers and PEFT alone, one sample at "
    "a time. The first loss of each contestant was compared with the judge's for those samples, so all look at the "
    "same tokens: {first}. `cpu` is real tokens for each second of one processor, `others` the share of the machine "
    "that other processes used meanwhile; a run with more than 5 % of it is repeated, up to twice."
)


def _contest(runs: dict[str, list[Measured]], verdict: dict[str, Any]) -> str:
    head = ("", "tokens/s", "supervised/s", "peak GiB", "held-out loss", "samples", "steps", "cpu", "others")
    rows = [
        (
            name,
            f"{middle(done, 'tokens_per_second'):.1f}",
            f"{middle(done, 'supervised_per_second'):.1f}",
            f"{middle(done, 'peak_bytes') / GIB:.2f}",
            f"{verdict['losses'][name]:.4f}",
            f"{done[-1].samples}",
            f"{done[-1].steps}",
            f"{middle(done, 'tokens_per_cpu_second'):.1f}",
            f"{middle(done, 'others'):.0%}",
        )
        for name, done in runs.items()
    ]
    return _table(head, rows)


def _ratios(runs: dict[str, list[Measured]], verdict: dict[str, Any]) -> str:
    head = ("hafs against", "tokens/s", "supervised/s", "tokens/cpu s", "peak memory", "held-out loss")
    fields = ("tokens_per_second", "supervised_per_second", "tokens_per_cpu_second", "peak_bytes")
    rows = []
    for name, done in runs.items():
        if name == "hafs":
            continue
        ratios = [middle(runs["hafs"], field) / middle(done, field) for field in fields]
        loss = verdict["losses"]["hafs"] / verdict["losses"][name] - 1
        rows.append((name, *(f"{ratio:.2f}x" for ratio in ratios), f"{loss:+.2%}"))
    return _table(head, rows)


def _first(runs: dict[str, list[Measured]], verdict: dict[str, Any]) -> str:
    return ", ".join(f"{name} {done[-1].first_loss:.3f} ({verdict['firsts'][name]:.3f})" for name, done in runs.items())


def _trials(trials: Sequence[Trial]) -> str:
    head = ("samples x passes", "checkpointing", "tokens/s", "peak GiB", "cpu", "others")
    rows = [
        (
            f"{trial.micro} x {trial.accumulate}",
            "on" if trial.checkpointing else "off",
            f"{trial.run.tokens_per_second:.1f}",
            f"{trial.run.peak_bytes / GIB:.2f}",
            f"{trial.run.tokens_per_cpu_second:.1f}",
            f"{trial.run.others:.0%}",
        )
        for trial in trials
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def machine() -> str:
    """The general kind of machine, never its name."""
    flags = ""
    if Path("/proc/cpuinfo").exists():
        flags = Path("/proc/cpuinfo").read_text()
    kind = "x86-64" if platform.machine() in ("x86_64", "AMD64") else platform.machine()
    extras = [word for word, flag in (("AVX512-BF16", "avx512_bf16"), ("AMX", "amx_bf16")) if flag in flags]
    maker = next((m for m in ("AMD", "Intel") if m in flags), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return " ".join(
        filter(None, [f"{cores} cores of an", maker, kind, "processor", *(f"with {e}" for e in extras[:1])])
    )


def versions() -> str:
    """Python and the libraries that decide; TRL's from its own environment, the others are the same in both."""
    asked = f"import importlib.metadata as m, json; print(json.dumps([m.version(n) for n in {LIBRARIES!r}]))"
    python = TRL_ENVIRONMENT / "bin" / "python"
    theirs = json.loads(subprocess.run([python, "-c", asked], capture_output=True, check=True, text=True).stdout)
    ours = [importlib.metadata.version(name) for name in LIBRARIES[:-1]]
    if theirs[:-1] != ours:
        raise SystemExit(
            f"the environments differ: {LIBRARIES[:-1]} {ours} and {theirs[:-1]}; remove {TRL_ENVIRONMENT}"
        )
    listed = ", ".join(f"{name} {version}" for name, version in zip(LIBRARIES, theirs, strict=True))
    return f"Python {platform.python_version()}, {listed}"


def write(text: str) -> None:
    """Replace this benchmark's section of the page, or add it; other sections stay as they are."""
    start, end = f"<!-- {NAME}: begin -->", f"<!-- {NAME}: end -->"
    section = f"{start}\n{text}{end}"
    page = PAGE.read_text() if PAGE.exists() else "# Benchmarks\n"
    found = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    page = found.sub(lambda _: section, page) if found.search(page) else f"{page.rstrip()}\n\n{section}\n"
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page)
