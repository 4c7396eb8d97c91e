"""How long a journal of a million lines takes to open: read, folded and drawn once.

    python benchmarks/dashboard_open.py [LINES]

The lines are those of a real run of eight samples a step: 420 bytes each, a measurement of the machine every 10 steps,
a save every 100. The file is in the page cache, as it is for a run that is being written.
"""

import math
import random
import sys
import tempfile
import time
from pathlib import Path

from hafs.dashboard.plot import plot
from hafs.runs.history import JournalReader
from hafs.runs.history.figures import figures

STEP = (
    '{"time":%.3f,"event":"step","stage":"main","epoch":%d,"step":%d,"total":%d,"samples":[%s],"loss":%.16f,'
    '"accuracy":%.16f,"grad_norm":%.16f,"lr":%.18f,"tokens":%d,"supervised":700,"rows":2,"skipped":null,'
    '"seconds":%.4f}\n'
)
MACHINE = (
    '{"time":%.3f,"event":"throughput","total":%d,"tokens_per_second":2600.1,"supervised_per_second":1400.0,'
    '"resident_bytes":2100000000,"memory_bytes":24000000000,"gpu_reserved_bytes":13000000000,'
    '"gpu_bytes":16000000000,"gpu_percent":%d}\n'
)
SAVED = '{"time":%.3f,"event":"saved","total":%d,"checkpoint":"step-%08d"}\n'


def write(path: Path, lines: int) -> None:
    chance, written, step = random.Random(1), 0, 0
    with path.open("w") as file:
        while written < lines:
            when = 1.8e9 + step / 2
            ids = ",".join(f'"{chance.getrandbits(64):016x}"' for _ in range(8))
            loss = 1.5 + 2 * math.exp(-step / 100_000) + chance.gauss(0, 0.2)
            facts = (
                chance.random(),
                abs(chance.gauss(0.8, 0.2)),
                1e-3 * (1 - step / 1e6),
                chance.randrange(1000, 1600),
            )
            file.write(STEP % (when, step // 300_000, step, step, ids, loss, *facts, 0.45))
            written += 1
            if step % 10 == 9 and written < lines:
                file.write(MACHINE % (when, step, chance.randrange(80, 100)))
                written += 1
            if step % 100 == 99 and written < lines:
                file.write(SAVED % (when, step + 1, step + 1))
                written += 1
            step += 1


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write(path, lines)
        print(f"{lines:,} lines, {path.stat().st_size / 1e6:.0f} MB")
        opened = []
        for _ in range(3):
            began, worked = time.perf_counter(), time.process_time()
            journal = JournalReader(Path(folder))
            journal.follow()
            read = time.perf_counter() - began
            drawn = {name: plot(figure, 120, 30) for name, figure in figures(journal.history, 240).items()}
            opened.append(time.perf_counter() - began)
            worked = time.process_time() - worked
            figured = f"{len(drawn)} figures drawn, {worked:.2f} s of a processor"
            print(f"opened in {opened[-1]:.2f} s ({read:.2f} s reading, {figured})")
        with path.open("a") as file:
            file.writelines(STEP % (2e9, 1, n, n, "", 1, 1, 1, 1, 1, 1) for n in range(2_000_000, 2_000_010))
        began = time.perf_counter()
        journal.follow()
        followed = time.perf_counter() - began
        print(f"10 more lines followed in {1000 * followed:.1f} ms; best of 3: {min(opened):.2f} s")


main()
