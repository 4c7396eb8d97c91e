"""The shipped cases hold on a real SNES core as they do on hafs' own 65816."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import real_core

from hafs.evaluation.rom.bus import CGRAM, VRAM, Bus
from hafs.evaluation.rom.case import RomCase, as_bytes
from hafs.evaluation.rom.case_store import RowCases, read_cases
from hafs.evaluation.rom.machine import run

ROOT = Path(__file__).resolve().parents[3]
CASES = str(ROOT / "data" / "alttp_asm.cases.jsonl")
FLAGS_AT, SUMS_AT = 0x7E3000, 0x7E2000
needs_core = pytest.mark.skipif(bool(real_core.missing()), reason=real_core.missing() or "-")


def differences(core, code, case):
    """What is not on the core as a case says."""
    end = core.run(real_core.image_of(code, case))
    found = [] if end["done"] == real_core.DONE else ["it did not return"]
    for name, value in case.end.items():
        got = int(bool(end["p"] & real_core.FLAGS[name])) if name in real_core.FLAGS else end[name]
        got &= 0xFF if name == "a" and end["p"] & 0x20 else 0xFFFF
        found += [f"{name} is ${got:X}, expected ${value:X}"] if got != value else []
    for address, value in case.out.items():
        for offset, byte in enumerate(as_bytes(value)):
            got = cell(end, Bus.home(address + offset))
            found += (
                [f"${address + offset:06X} holds ${got:02X}, expected ${byte:02X}"] if got not in (byte, None) else []
            )
    return found[:3]


def cell(end, home):
    """A byte of the core's memory; None where a core does not show it: ports, palette, sprite table."""
    if VRAM <= home < CGRAM:
        return end["vram"][home - VRAM]
    if 0x7E0000 <= home < 0x800000:
        return end["wram"][home - 0x7E0000]
    return end["sram"][home & 0x1FFF] if 0x700000 <= home < 0x708000 else None


def compared(step):
    """Cases that were run, and what differs; cases that poll a port are left out."""
    core, count, wrong = real_core.Core(), 0, []
    rows = [row for row in read_cases((CASES,)).values() if isinstance(row, RowCases)]
    for row in list({row.code: row for row in rows}.values())[::step]:
        for case in row.cases:
            if not case.ports:
                count += 1
                wrong += [(row.family, row.key, *found) for found in [differences(core, row.code, case)] if found]
    return count, wrong


def arithmetic(count):
    """Additions and subtractions, binary and decimal, of 8 and 16 bits: sums and flags on the core and on ours."""
    dice, code = random.Random(11), b"\x08"
    for k in range(count):
        wide, operation = dice.random() < 0.5, dice.choice((0x69, 0xE9))
        values = [
            dice.randrange(10) * 16 + dice.randrange(10) if dice.random() < 0.8 else dice.randrange(256) for _ in "four"
        ]
        one, two = (bytes(pair[: 1 + wide]) for pair in (values[:2], values[2:]))
        code += bytes([0xC2 if wide else 0xE2, 0x20, dice.choice((0xF8, 0xD8)), dice.choice((0x18, 0x38)), 0xA9]) + one
        code += bytes([operation]) + two + b"\x08\xe2\x20" + b"\x8f" + real_core.long(SUMS_AT + 2 * k)
        code += b"\xeb\x8f" + real_core.long(SUMS_AT + 2 * k + 1) + b"\xeb\x68\x8f" + real_core.long(FLAGS_AT + k)
    code += b"\x28\x6b"
    end, own = real_core.Core().run(real_core.image_of(code, RomCase())), run(code, RomCase()).cpu.bus
    assert end["done"] == real_core.DONE
    places = [*range(SUMS_AT, SUMS_AT + 2 * count), *range(FLAGS_AT, FLAGS_AT + count)]
    return count, [hex(place) for place in places if end["wram"][place - 0x7E0000] != own.peek(place)]


def in_a_child(call):
    """The core writes to stderr and keeps its state in globals, so that it runs in a process of its own."""
    code = f"import test_real_core as t; count, wrong = t.{call}; print(count); print(wrong[:5])"
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True,
                          check=False, timeout=3000)  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    count, wrong = done.stdout.splitlines()[-2:]
    return int(count), wrong


@needs_core
def test_cases_hold_on_a_real_core():
    count, wrong = in_a_child("compared(90)")
    assert count >= 20
    assert wrong == "[]"


@needs_core
def test_sums_and_their_flags_are_those_of_a_real_core():
    assert in_a_child("arithmetic(400)") == (400, "[]")


@needs_core
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_cases_hold_on_a_real_core():
    count, wrong = in_a_child("compared(1)")
    assert count >= 1324
    assert wrong == "[]"
