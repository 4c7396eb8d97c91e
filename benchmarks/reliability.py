"""The same faults against hafs, stock Lightning and the transformers Trainer, for docs/explanation/reliability.md.

    python benchmarks/reliability.py             all faults; the table is written anew
    python benchmarks/reliability.py memory nan  those alone; their rows are written over

Each trains a tiny model for two epochs on a CPU, with a checkpoint every 5; the fault strikes in step 13, and the same
command is given again until it ends well, four times at most.
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOC = HERE.parent / "docs/explanation/reliability.md"
CONTESTANTS = {"hafs": "with_hafs.py", "Lightning": "with_lightning.py", "Trainer": "with_trainer.py"}
FAULTS = {
    "none": "undisturbed",
    "kill": "kill -9",
    "signal": "SIGTERM",
    "damage": "kill -9, then a bit of the newest checkpoint flips",
    "disk": "files above 20 KB cannot be written during one save",
    "memory": "out of memory with more than 2 samples per forward pass, from step 13 on",
    "nan": "the loss of step 13 is NaN",
}
BEGIN, END = "<!-- reliability: begin -->", "<!-- reliability: end -->"


def run(folder, contestant, fault):
    """Give the same command until it ends well; returns the exit codes."""
    codes = []
    environ = {**os.environ, "PYTHONPATH": f"{HERE / 'faults'}{os.pathsep}{HERE.parent}", "OMP_NUM_THREADS": "1"}
    while len(codes) < 4 and 0 not in codes[-1:]:
        command = [sys.executable, str(HERE / "faults" / CONTESTANTS[contestant]), fault]
        done = subprocess.run(command, cwd=folder, env=environ, check=False, capture_output=True, text=True)
        (folder / f"said-{len(codes)}").write_text(done.stdout + done.stderr)
        codes.append(done.returncode)
        if fault == "signal" and done.returncode == 0 and not (folder / "end.json").exists():
            codes.append(run(folder, contestant, fault)[-1])
        if fault == "damage" and len(codes) == 1:
            flip_a_bit(folder)
    return codes


def flip_a_bit(folder):
    """In the middle of the largest file of the newest checkpoint."""
    found = [
        p
        for pattern in ("outputs/run/checkpoints/*/*", "checkpoints/*", "checkpoints/*/*")
        for p in folder.glob(pattern)
    ]
    files = [path for path in found if path.is_file() and path.stat().st_size > 10_000]
    newest = max(path.stat().st_mtime for path in files)
    path = max((p for p in files if p.stat().st_mtime > newest - 0.5), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[random.Random(7).randrange(len(data) // 3, len(data) // 2)] ^= 16
    path.write_bytes(data)


def judged(folder, codes, undisturbed):
    """What became of a run, in words for the table."""
    lines = (folder / "steps.jsonl").read_text().splitlines() if (folder / "steps.jsonl").exists() else []
    steps = {}
    for line in map(json.loads, lines):
        steps[line["step"]] = line
    seen = Counter(sample for step in steps.values() for sample in step["samples"])
    end = json.loads((folder / "end.json").read_text()) if (folder / "end.json").exists() else {}
    words = [f"exit {', '.join(map(str, codes))}"]
    if not end:
        return f"{words[0]}; never ended", end
    least, most = min(seen.values()), max(seen.values())
    words.append("each sample twice" if least == most == 2 else f"samples seen {least} to {most} times")
    if undisturbed and len(steps) != undisturbed["steps"]:
        words.append(f"in {len(steps)} steps")
    words += weights(end, undisturbed) if undisturbed else []
    return "; ".join(words), end | {"steps": len(steps)}


def weights(end, undisturbed):
    """How the weights at the end differ from those of the undisturbed run."""
    if end["digest"] == undisturbed["digest"]:
        return ["same weights"]
    apart = [abs(a - b) for a, b in zip(end["weights"], undisturbed["weights"], strict=True)]
    if not all(map(math.isfinite, apart)):
        return ["**weights are NaN**"]
    return [f"weights apart by up to {max(apart):.0e}"]


def row(fault, undisturbed):
    """What a fault did to each contestant, as a row of the table; `undisturbed` learns from the fault `none`."""
    cells = []
    for contestant in CONTESTANTS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            codes = run(folder, contestant, fault)
            told, end = judged(folder, codes, undisturbed.get(contestant))
            cells.append(told)
            if fault == "none":
                undisturbed[contestant] = end
            if os.environ.get("SHOW"):
                print(contestant, fault, told, (folder / "said-0").read_text()[-600:], sep="\n")
    return f"| {FAULTS[fault]} | {' | '.join(cells)} |"


def main():
    """Run what was asked for and write the table."""
    wanted = sys.argv[1:] or list(FAULTS)
    text = DOC.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    rows = {line.split(" | ")[0]: line for line in text[len(before) : -len(after)].splitlines() if line}
    undisturbed = {}
    for fault in dict.fromkeys(["none", *wanted]):
        rows[f"| {FAULTS[fault]}"] = row(fault, undisturbed)
        print(rows[f"| {FAULTS[fault]}"], flush=True)
    head = f"| fault | {' | '.join(CONTESTANTS)} |\n|---|{'---|' * len(CONTESTANTS)}\n"
    lines = [rows[key] for words in FAULTS.values() if (key := f"| {words}") in rows]
    DOC.write_text(before + "\n" + head + "\n".join(lines) + "\n" + after)


if __name__ == "__main__":
    main()
