"""The debugging sample: a message, a dump or a trace, and a diagnosis in three parts."""

from ..dice import Dice
from . import build as build_faults
from . import running, stack, system
from .case import CAUSES, Case
from .fixes import case_records

__all__ = ["CAUSES", "Case", "case_records", "cases", "records"]

MODULES = (build_faults, running, stack, system)
COUNT = 320
TRIES = 40


def cases(seed: int) -> list[Case]:
    """All cases, causes in turn, no prompt twice."""
    names = sorted(CAUSES)
    dice = {name: Dice(f"debug/{seed}/{name}") for name in names}
    order = Dice(f"debug/{seed}")
    seen: set[str] = set()
    found: list[Case] = []
    while len(found) < COUNT:
        for name in order.shuffled(names):
            options = (CAUSES[name](dice[name]) for _ in range(TRIES))
            case = next((option for option in options if option.input not in seen), None)
            if case and len(found) < COUNT:
                seen.add(case.input)
                found.append(case)
    return order.shuffled(found)


def records(seed: int) -> list[dict[str, str]]:
    """The cases as they are written to the file."""
    return [{"instruction": case.instruction, "input": case.input, "output": case.output} for case in cases(seed)]
