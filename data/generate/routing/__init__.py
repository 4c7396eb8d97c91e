"""The routing sample: a question and the experts who should answer it."""

from ..dice import Dice
from .questions import QUESTIONS
from .slots import decorate, fill
from .training_questions import follow_ups, training_questions

__all__ = ["EXPERTS", "QUESTIONS", "follow_ups", "records", "training_questions"]

EXPERTS = ("asm", "debug", "general", "yaze")
SHARES = {
    "asm": 104, "yaze": 80, "debug": 72, "general": 48, "asm,debug": 34, "asm,yaze": 28, "debug,yaze": 24,
    "asm,debug,yaze": 10,
}  # fmt: skip
"""Rows per label, 400 together: 24 % have several experts and 12 % none of the three."""
TRIES = 500


def records(seed: int) -> list[dict[str, str]]:
    """The rows as they are written to the file, no question twice; rows from one question share their `split_group`."""
    rows: list[dict[str, str]] = []
    seen: set[str] = set()
    for target, count in SHARES.items():
        d = Dice(f"routing/{seed}/{target}")
        order = d.shuffled(QUESTIONS[target])
        made = 0
        for attempt in range(TRIES):
            question = order[attempt % len(order)]
            text = decorate(d, fill(d, question))
            if made == count:
                break
            if text.lower() not in seen:
                seen.add(text.lower())
                family = f"{target}/{QUESTIONS[target].index(question):02d}"
                rows.append({"instruction": text, "input": "", "output": target, "split_group": family})
                made += 1
    return Dice(f"routing/{seed}").shuffled(rows)
