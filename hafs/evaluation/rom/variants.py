"""More cases for a routine, drawn from a seed: a known case with other inputs, answered by the row's own routine.

A drawn input stays within what the case shows to be legal: a byte becomes at most as large as it was, never 0 unless it
was 0, and a digit stays a digit. A draw is dropped where the routine then reads what the case does not describe.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from hafs.evaluation.rom.case import RomCase, as_bytes, cells_of
from hafs.evaluation.rom.machine import ORIGIN, SCRATCH, STACK_PAGE, RunEnd, register, run

LONGEST_INPUT = 2
"""Bytes of an input that is redrawn; longer ones are tables, lists and pointers, which mean something as a whole."""
TRIES = 12
RAM = 0x7E0000


def drawn(code: bytes, cases: Sequence[RomCase], *, seed: int, ends: Sequence[RunEnd] = ()) -> RomCase | None:
    """A case that is not among the given ones; None if no draw succeeds.

    Args:
        code: The routine that is right.
        cases: What it is known to do.
        seed: Of the draw.
        ends: How `observed` saw it run on each of them; empty: it is run now.
    """
    chance = random.Random(seed)
    known = {_inputs(case) for case in cases}
    ends = ends or observed(code, cases)
    tables = _tables(ends)
    for _ in range(TRIES):
        at = int(chance.random() * len(cases))
        base = cases[at]
        asked = replace(base, regs=_redrawn_registers(base, chance), mem=_redrawn_memory(base, chance))
        if _inputs(asked) not in known and (found := _answered(code, base, asked, ends[at], tables)) is not None:
            return found
    return None


def observed(code: bytes, cases: Sequence[RomCase]) -> list[RunEnd]:
    """How a routine runs on cases, whatever they say must hold after it."""
    return [run(code, replace(case, out={}, end={}), seed=1) for case in cases]


def _tables(ends: Sequence[RunEnd]) -> range:
    """The part of the routine that its known cases read as data, from the first to the last byte."""
    rom = [home for end in ends for home in end.cpu.bus.reads if home < RAM]
    return range(min(rom), max(rom) + 1) if rom else range(0)


def _answered(code: bytes, base: RomCase, asked: RomCase, first: RunEnd, tables: range) -> RomCase | None:
    """The changed case with what the routine makes of it; None where it leaves what the base case describes."""
    (second,) = observed(code, [asked])
    if first.problems or second.problems or not _alike(first, second, tables):
        return None
    bus = second.cpu.bus
    out: dict[int, bytes | int] = {
        address: bytes(bus.peek(address + k) for k in range(len(as_bytes(value))))
        for address, value in base.out.items()
    }
    described = cells_of(base.out)
    kept = {home: bus.peek(home) for home in sorted(described - second.changed - cells_of(asked.mem))}
    fresh = second.changed - first.changed - described
    out |= {home: bus.cells[home] for home in sorted(fresh) if home not in SCRATCH and home not in STACK_PAGE}
    end = {name: register(second.cpu, name) for name in base.end}
    return replace(asked, mem={**kept, **asked.mem}, out=out, end=end)


def _alike(first: RunEnd, second: RunEnd, tables: range) -> bool:
    """Whether the second run reads nothing that the first one did not, but for tables, and is not much longer."""
    strange = second.cpu.bus.reads - first.cpu.bus.reads
    return all(home in tables for home in strange) and not second.cpu.bus.lost and second.steps <= 3 * first.steps + 50


def _inputs(case: RomCase) -> tuple:
    memory = tuple((address, as_bytes(value)) for address, value in sorted(case.mem.items()))
    return tuple(sorted(case.regs.items())), memory, tuple(case.ports.items())


def _redrawn_registers(case: RomCase, chance: random.Random) -> dict[str, int]:
    return {
        name: _number(value, chance) if name in ("a", "x", "y") and chance.random() < 0.7 else value
        for name, value in case.regs.items()
    }


def _redrawn_memory(case: RomCase, chance: random.Random) -> dict[int, bytes | int]:
    return {
        address: bytes(_byte(b, chance) for b in as_bytes(value))
        if _free(address, value) and chance.random() < 0.7
        else value
        for address, value in case.mem.items()
    }


def _free(address: int, value: bytes | int) -> bool:
    return len(as_bytes(value)) <= LONGEST_INPUT and address & 0xFFFF < ORIGIN


def _number(value: int, chance: random.Random) -> int:
    low = _byte(value & 0xFF, chance)
    return low | _byte(value >> 8, chance) << 8


def _byte(value: int, chance: random.Random) -> int:
    """A byte from 1 to `value`; both digits stay decimal if they were."""
    if not value:
        return 0
    for _ in range(20):
        found = 1 + int(chance.random() * value)
        if max(value & 15, value >> 4) > 9 or max(found & 15, found >> 4) <= 9:
            return found
    return value
