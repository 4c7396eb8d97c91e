"""Questions written for routers to learn from: none of them is in `routing.jsonl`, whose held-out part measures.

One file a set of experts (`asm+debug.txt`), one question a line, with the slots of the routing sample. `*.halves.txt`
are half sentences, joined at random: two wishes of one expert are for it alone, two of different experts for both.
"""

from pathlib import Path

from ...dice import Dice
from ..slots import decorate, fill

FOLDER = Path(__file__).parent
JOINTS = (" and ", ", and ", ", then ", ". Then ", "; ", ", ", ". Also, ", " and then ")
JOINED = {
    "asm,yaze": (170, (("yaze", "asm"), ("yaze", "asm"), ("asm", "yaze"), ("yaze", "yaze", "asm"))),
    "asm,debug": (90, (("debug", "asm+debug"), ("asm+debug", "debug"))),
    "debug,yaze": (130, (("yaze", "debug"), ("debug", "debug+yaze"), ("yaze", "debug", "debug+yaze"))),
    "asm,debug,yaze": (90, (("yaze", "debug", "asm+debug"), ("debug", "debug+yaze", "asm+debug"))),
    "asm": (40, (("asm", "asm"),)),
    "yaze": (60, (("yaze", "yaze"),)),
    "debug": (20, (("debug", "debug"),)),
}
"""Rows of joined halves for each set of experts, and which halves in which order."""
TRIES = 200


def training_questions(seed: int) -> list[dict[str, str]]:
    """Rows as in `routing.jsonl`: each question as written, once more as somebody types it, and the joined ones."""
    rows: dict[str, dict[str, str]] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        if ".halves" not in path.name:
            _written(rows, path.stem.replace("+", ","), _lines(path), seed)
    for experts, (count, orders) in JOINED.items():
        _joined(rows, experts, count, orders, seed)
    return Dice(f"lessons/{seed}").shuffled(list(rows.values()))


def follow_ups(seed: int) -> list[dict[str, str]]:
    """Texts that say nothing without the question before them (`follow_up`), and short ones that do (`question`)."""
    kinds = (("depends", "follow_up"), ("stands", "question"))
    rows = [
        {"instruction": text, "input": "", "output": label}
        for ending, label in kinds
        for text in _lines(FOLDER / f"follow_ups.{ending}")
    ]
    return Dice(f"follow-ups/{seed}").shuffled(rows)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _written(rows: dict[str, dict[str, str]], experts: str, questions: list[str], seed: int) -> None:
    d = Dice(f"lessons/{seed}/{experts}")
    for number, question in enumerate(questions):
        group = f"lesson/{experts}/{number:03d}"
        _add(rows, fill(d, question), experts, group)
        _add(rows, decorate(d, fill(d, question)), experts, group)


def _joined(rows: dict[str, dict[str, str]], experts: str, count: int, orders, seed: int) -> None:
    d = Dice(f"lessons/{seed}/joined/{experts}")
    made = 0
    for _ in range(count * TRIES):
        if made == count:
            return
        halves = [fill(d, d.of(_lines(FOLDER / f"{name}.halves.txt"))) for name in d.of(orders)]
        if len(set(halves)) == len(halves):
            text = halves[0][0].upper() + halves[0][1:] + "".join(d.of(JOINTS) + half for half in halves[1:])
            text = decorate(d, text + d.of((".", ".", ", please.", "")))
            made += _add(rows, text, experts, f"joined/{experts}/{made:03d}")


def _add(rows: dict[str, dict[str, str]], text: str, experts: str, group: str) -> bool:
    if text.lower() in rows:
        return False
    rows[text.lower()] = {"instruction": text, "input": "", "output": experts, "split_group": group}
    return True
