"""A line for each causal language model type of transformers, and the table of docs/reference/conformance.md.

    python tests/conformance/conformance.py                  every type, and the table
    python tests/conformance/conformance.py gemma2 gpt_oss   some, without it

Ends with 1 if a type is computed wrongly or ends in a traceback, instead of right or refused.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import argparse
import logging
import sys
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from conformance_check import Verdict, check

TABLE = Path(__file__).parents[2] / "docs/reference/conformance.md"
PACKAGES = ("transformers", "torch", "peft")


def line(verdict: Verdict) -> str:
    """A type, as the command prints it."""
    cells = " ".join(f"{k}={v:.0e}" if isinstance(v, float) else f"{k}=-" for k, v in verdict.found.items())
    return f"{verdict.kind:24} {verdict.word:8} {verdict.why or verdict.way} {verdict.experts} {cells}"


def table(verdicts: list[Verdict]) -> str:
    """The page."""
    counts = Counter(verdict.word for verdict in verdicts)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        "# Which bases hafs computes as transformers does",
        "",
        "Written by `make conformance-models`. For every causal language model type of transformers a tiny network",
        "with random weights was run by hafs beside transformers: loss of a sample and of a packed row, gradients of a",
        "LoRA with and without checkpointing, generation. The same comparison, on twenty tokens, is made of every base",
        "that is loaded.",
        "",
        f"{versions}: "
        + ", ".join(f"{count} {word}" for word, count in counts.most_common())
        + f" of {len(verdicts)}.",
        "",
        "| type | | how it is run, or why not |",
        "|---|---|---|",
    ]
    for v in sorted(verdicts, key=lambda v: v.kind):
        said = v.why or "; ".join(filter(None, (v.way, v.experts)))
        lines.append(f"| {v.kind} | {v.word} | {said.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Check and print."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.utils import logging as transformers_logging

    parser = argparse.ArgumentParser()
    parser.add_argument("types", nargs="*")
    types = parser.parse_args().types
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    found = []
    for kind in types or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        found.append(check(kind))
        print(line(found[-1]), flush=True)
    print(dict(Counter(verdict.word for verdict in found)))
    if not types:
        TABLE.write_text(table(found))
    sys.exit(any(verdict.word in ("wrong", "crash") for verdict in found))


if __name__ == "__main__":
    main()
