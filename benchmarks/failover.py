"""Failover: hafs beside `ChatOpenAI.with_fallbacks` and LiteLLM's Router, over one fault server on loopback.

    python benchmarks/failover.py                                 everything, about 8 minutes
    python benchmarks/failover.py --parts speed --sides hafs      a part of it
    python benchmarks/failover.py --keep results.json --write     results so far, written to the manual

Each side runs in a process and an environment of its own (`.venv-langchain`, `.venv-litellm`, made here when missing).
The fault server is a third process. Every side gets a second of patience for a call and no retries before its fallback.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "tests/providers/fault_server.py"
SIDES = {
    "hafs": ("hafs_side.py", None),
    "with_fallbacks": ("with_fallbacks.py", "langchain"),
    "litellm": ("litellm_router.py", "litellm"),
}
NEEDS = {"langchain": ["langchain-openai"], "litellm": ["litellm!=1.82.7,!=1.82.8"]}  # those two were malware
PARTS = ("faults", "speed", "many", "cancellations")
NOTES = [
    "* Settings: a second of patience for a call and no retries before falling back: `ChatOpenAI(max_retries=0,",
    "  timeout=1)`, `Router(num_retries=0, timeout=1, stream_timeout=1, allowed_fails=0, cooldown_time=30)`. The fault",
    "  server continues a broken answer when it is asked to, as a good model does; a real one may word it otherwise.",
    "* Inside the process: hafs over `provider=scripted`, with_fallbacks over LangChain's fake model, LiteLLM over its",
    "  `mock_response`. Every side freezes what is loaded for the collector first (`gc.freeze`), as `hafs serve` does;",
    "  without it a pause of the collector of 70 ms shows in the 99th percentile.",
    "* With httpx, not aiohttp, a request of 64 concurrent ones took hafs 9.3 ms on a busy machine; aiohttp 1.7.",
]
LABELS = {"hafs": "hafs", "with_fallbacks": "with_fallbacks", "litellm": "LiteLLM Router"}
sys.path.insert(0, str(SERVER.parent))


def python_of(environment: str | None) -> str:
    """The interpreter of a side; its environment is made when it is missing."""
    if environment is None:
        return sys.executable
    folder = Path(os.environ.get("HAFS_BENCH_ENVIRONMENTS", ROOT)) / f".venv-{environment}"
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pins = ["-c", str(ROOT / "constraints.txt")] if environment == "langchain" else []
        subprocess.run([folder / "bin/pip", "install", "-q", *pins, *NEEDS[environment]], check=True)
    return str(folder / "bin/python")


@contextmanager
def fault_server():
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield int(process.stdout.readline())
        process.stdin.close()


def run(side: str, part: str, many: int) -> dict:
    """One part of one side, with a fault server of its own."""
    from fault_server import ANSWER, FAULTS

    script, environment = SIDES[side]
    with fault_server() as port, tempfile.TemporaryDirectory() as state:
        spec = {
            "parts": [part],
            "port": port,
            "base": f"http://127.0.0.1:{port}",
            "refused": "http://127.0.0.1:1/v1",
            "faults": [*FAULTS, "refused"],
            "answer": ANSWER,
            "many": many,
            "cancelled": many // 10,
        }
        keys = {"FIRST_KEY": "sk-first", "SECOND_KEY": "sk-second", "HAFS_STATE": state}
        told = subprocess.run(
            [python_of(environment), str(ROOT / "benchmarks/failover_sides" / script), json.dumps(spec)],
            env={**os.environ, "PYTHONPATH": str(ROOT) if side == "hafs" else "", **keys},
            cwd=state,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in told.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{side} {part} ended with {told.returncode}:\n{told.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def fault_rows(kept: dict) -> list[str]:
    rows = ["| | " + " | ".join(LABELS[side] for side in kept) + " |", "| --- |" + " ---: |" * len(kept)]
    facts = {side: kept[side]["faults"] for side in kept}
    total = len(next(iter(facts.values())))

    def row(name, value):
        rows.append(f"| {name} | " + " | ".join(str(value(side)) for side in kept) + " |")

    def verdicts(side):
        return Counter(verdict for verdict, *_ in facts[side].values())

    row(f"complete answers, of {total}", lambda s: verdicts(s)["complete"])
    row("cut or wrong answers handed over as whole ones", lambda s: verdicts(s)["wrong"])
    row("errors although the second provider was healthy", lambda s: verdicts(s)["error"] + verdicts(s)["waiting"])
    row("slowest answer", lambda s: f"{max(seconds for _, seconds, *_ in facts[s].values()):.1f} s")
    row("most calls for one request", lambda s: max(made for _, _, made, *_ in facts[s].values()))
    row("from a refusal to the next call, at most", lambda s: _longest_gap(facts[s]))
    row(
        "calls, in 10 requests, to a provider that asked to back off for 30 s",
        lambda s: kept[s]["rest"]["calls_to_the_resting"],
    )
    return rows


def _longest_gap(found: dict) -> str:
    timed = ("hang", "slow_first_token", "drip")
    gaps = [gap for name, (_, _, _, gap, _) in found.items() if gap is not None and not name.startswith(timed)]
    return f"{max(gaps) * 1e3:.0f} ms" if gaps else "-"


def speed_rows(kept: dict) -> list[str]:
    rows = [
        "| | median | p95 | 64 concurrent: median | p99 | requests/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for side, parts in kept.items():
        for name, found in parts["speed"].items():
            if name == "bare":
                continue
            where = {"http": "over HTTP", "inside": "inside the process"}.get(name, name)
            alone, crowd = found["alone"], found["64 at once"]
            cells = (alone["median"], alone["p95"], crowd["median"], crowd["p99"])
            label = f"{LABELS[side]}, {where}"
            rows.append(f"| {label} | " + " | ".join(f"{c} ms" for c in cells) + f" | {found['requests_per_second']} |")
    bare = kept[next(iter(kept))]["speed"]["bare"]
    rows.append(f"| the instant server itself (http.client) | {bare['median']} ms | {bare['p95']} ms | | | |")
    return rows


def long_rows(kept: dict) -> list[str]:
    rows = []
    for side, parts in kept.items():
        if found := parts.get("many"):
            memory, open_files = found["memory_mb"], found["descriptors"]
            rows.append(
                f"* {LABELS[side]}, {found['calls']['mix20']:,} calls to a provider that breaks every fifth in turn:"
                f" {found['answered']:,} requests answered in full, {found['failed']:,} not; measured part"
                f" {found['seconds']} s, memory {memory[0]} -> {memory[1]} MB, descriptors {open_files[0]} ->"
                f" {open_files[1]}, tasks left {found['tasks_left']}."
            )
        if found := parts.get("cancellations"):
            memory, open_files = found["memory_mb"], found["descriptors"]
            rows.append(
                f"* {LABELS[side]}, cancellations at random: memory {memory[0]} -> {memory[1]} MB, descriptors"
                f" {open_files[0]} -> {open_files[1]}, tasks left {found['tasks_left']}, answers afterwards:"
                f" {'yes' if found['answers_afterwards'] else 'no'}."
            )
    return rows


def markdown(kept: dict) -> str:
    have = {part: {s: p for s, p in kept.items() if part in p} for part in PARTS}
    lines = ["## Failover: hafs beside ChatOpenAI.with_fallbacks and LiteLLM's Router", ""]
    lines += [
        f"`python benchmarks/failover.py`, {time.strftime('%Y-%m-%d')}. {len(os.sched_getaffinity(0))} cores.",
        "",
    ]
    if have["faults"]:
        lines += [
            "Every fault, asked for in four ways (sync, stream, async, async stream), a healthy second provider:",
            "",
        ]
        lines += [*fault_rows(have["faults"]), ""]
    if have["speed"]:
        lines += ["Over a provider that answers immediately:", "", *speed_rows(have["speed"]), ""]
    lines += [*long_rows(kept), *NOTES]
    return "\n".join(lines).rstrip() + "\n"


def write(text: str) -> None:
    """Put the section into docs/explanation/benchmarks.md, in place of the last one."""
    page = ROOT / "docs/explanation/benchmarks.md"
    marks = ("<!-- failover: begin -->\n", "<!-- failover: end -->\n")
    section = f"{marks[0]}{text}{marks[1]}"
    old = page.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(marks[0]) + ".*?" + re.escape(marks[1]), re.DOTALL)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n{section}"
    page.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sides", nargs="*", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--many", type=int, default=10_000, help="requests of the long part; a tenth is cancelled")
    parser.add_argument("--keep", type=Path, help="add the results to this file")
    parser.add_argument("--write", action="store_true", help="put the table into docs/explanation/benchmarks.md")
    given = parser.parse_args()
    kept = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    for part in given.parts:
        for side in given.sides:
            began = time.monotonic()
            kept.setdefault(side, {}).update(run(side, part, given.many))
            print(f"{part} of {side}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if given.keep:
                given.keep.write_text(json.dumps(kept, indent=1))
    text = markdown({side: kept[side] for side in SIDES if side in kept})
    print(text)
    if given.write:
        write(text)


if __name__ == "__main__":
    main()
