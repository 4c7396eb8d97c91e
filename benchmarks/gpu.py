"""What only a GPU can tell, in one run of at most eight minutes; prints JSON, section by section.

    python benchmarks/gpu.py                            on a machine with a GPU; results in outputs/gpu.json
    python benchmarks/gpu.py --only memory,syncs        some sections
    python benchmarks/gpu.py --device cpu --model tiny  a dry run of the same code without a GPU

card      device, driver's context, allocator settings, which kernels are there
memory    peak beside the plan, and tokens/s, by length of the packed sequence, under a cap of 16 GiB
recovery  a step that runs out of memory is divided until it fits, and the next one works
syncs     where a step waits for the GPU (torch.cuda.set_sync_debug_mode)
stages    two stages of real training; where the answers between them are computed, and how fast
resume    the same training, interrupted and continued: how far its losses are apart
peers     tokens/s of hafs, TRL and Unsloth on the same rows, those that are installed
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hafs.core.cuda_allocator import use_expandable_segments

use_expandable_segments()  # as the commands do, before anything imports torch

from gpu_sides import peers, runs, steps  # noqa: E402

SECTIONS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "card": steps.card,
    "memory": steps.memory,
    "recovery": steps.recovery,
    "syncs": steps.syncs,
    "stages": runs.stages,
    "resume": runs.resume,
    "peers": peers.compare,
}
SHARE = {"card": 0.02, "memory": 0.3, "recovery": 0.08, "syncs": 0.05, "stages": 0.2, "resume": 0.15, "peers": 0.2}
"""Of the time; what one section leaves, the next ones may use."""


def arguments(typed: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", default="qwen14b", help="for memory: a name of hafs/planning/catalogue")
    parser.add_argument("--tokens", default="1024,2048,4096,8192", help="for memory: lengths")
    parser.add_argument("--cap", type=float, default=16.0, help="GiB that the process may take")
    parser.add_argument("--trained", default="smollm2_135m", help="for stages, resume, peers: a name of conf/model")
    parser.add_argument("--only", help="sections, with commas between")
    parser.add_argument("--seconds", type=float, default=480.0, help="for everything")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu.json"))
    options = parser.parse_args(typed)
    options.rank = 16
    chosen = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown sections: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    options.chosen = [name for name in SECTIONS if name in chosen]
    return options


def section(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a section found, or why it did not; an error ends the section and not the run."""
    began = time.perf_counter()
    try:
        found = {"found": SECTIONS[name](options)}
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}
    return found | {"took_seconds": round(time.perf_counter() - began, 1)}


def main(typed: Sequence[str] | None = None) -> int:
    options = arguments(typed)
    began, done = time.monotonic(), {}
    total = sum(SHARE[name] for name in options.chosen)
    planned = 0.0
    for name in options.chosen:
        planned += SHARE[name] / total * options.seconds
        options.until = began + planned  # what earlier sections left is this one's
        left = began + options.seconds - time.monotonic()
        done[name] = section(name, options) if left > 0 else {"error": "no time left"}
        print(json.dumps({name: done[name]}, indent=1), flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(done, indent=1) + "\n")
    return int(any("error" in each for each in done.values()))


if __name__ == "__main__":
    sys.exit(main())
