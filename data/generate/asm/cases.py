"""The cases of the assembly sample, as they are shipped: what each routine does, pinned down and extended."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hafs.evaluation.rom.case import RomCase, as_bytes, cells_of
from hafs.evaluation.rom.case_store import RowCases, key_of
from hafs.evaluation.rom.machine import SCRATCH, STACK_PAGE, register, run
from hafs.evaluation.rom.variants import drawn, observed

from .row import Row

LEAST = 6
"""Cases per row: those of its family, and drawn ones up to this number."""


def missing() -> str:
    """Why cases cannot be written here; empty where they can."""
    return "" if shutil.which("ca65") and shutil.which("ld65") else "ca65 and ld65 (cc65) are not installed"


def row_cases(rows: Sequence[Row]) -> list[RowCases]:
    """The cases of every row whose answer is a routine that was run."""
    asked = [row for row in rows if row.runs and "```asm" in row.output]
    texts = sorted({text for row in asked for text in (row.code, row.broken, row.equal) if text})
    code = dict(zip(texts, assemble(texts), strict=True))
    return [cases_of(row, code[row.code], [code[t] for t in (row.broken, row.equal) if t]) for row in asked]


def prompt_of(row: Row) -> str:
    """What a model is asked for a row."""
    return f"{row.instruction}\n\n{row.input}" if row.input.strip() else row.instruction


def cases_of(row: Row, code: bytes, shown: Sequence[bytes]) -> RowCases:
    """The cases of one row, from its runs, its machine code and that of the code in its prompt."""
    cases = [pinned(code, case, whole=bool(row.broken or row.equal)) for case in row.runs]
    ends = observed(code, cases)
    for seed in range(1, 9):
        if len(cases) >= LEAST:
            break
        if (more := drawn(code, cases, seed=seed, ends=ends)) is not None:
            cases.append(more)
            ends += observed(code, [more])
    equal = [len(before) for before in shown if row.equal and len(before) > len(code)]
    return RowCases(
        key=key_of(prompt_of(row)), family=row.family, code=code, shown=tuple(shown), cases=tuple(cases),
        most_bytes=min([4 * len(code) + 32, *(size - 1 for size in equal)]),
    )  # fmt: skip


def pinned(code: bytes, case: RomCase, *, whole: bool) -> RomCase:
    """The case with a value for all that the routine reads, and for all that it must leave as it is.

    Args:
        code: The routine.
        case: As its family gives it.
        whole: All that the routine does to work RAM belongs to the row, as where the prompt shows it with a fault.
    """
    case = _filled(code, case)
    end = run(code, case)
    bus = end.cpu.bus
    given = {bus.home(address + k) for address, value in case.mem.items() for k in range(len(as_bytes(value)))}
    mem: dict[int, bytes | int] = {home: 0 for home in sorted(bus.reads) if home >= 0x7E0000 or home < 0x2000}
    out = {}
    for address, value in case.out.items():
        wanted = bytearray(as_bytes(value))
        for k in range(len(wanted)):
            home = bus.home(address + k)
            if home not in given | set(mem) and home not in bus.written and not 0x2000 <= home < 0x6000:
                mem[home] = wanted[k] = 0x5A ^ k & 0xFF
        out[address] = bytes(wanted)
    if whole:
        told = cells_of(out) | set(SCRATCH) | set(STACK_PAGE)
        out |= {home: bus.cells[home] for home in sorted(end.changed - told) if 0x7E0000 <= home < 0x800000}
    return replace(case, mem={**mem, **case.mem}, out=out, end={**_switched(code, case), **case.end})


def _switched(code: bytes, case: RomCase) -> dict[str, int]:
    """Decimal mode and the interrupt flag, where the routine leaves them the same whatever they were."""
    found = {}
    for name in ("dec", "irq"):
        ends = {register(run(code, replace(case, regs={**case.regs, name: on})).cpu, name) for on in (0, 1)}
        if len(ends) == 1:
            found[name] = ends.pop()
    return found


def _filled(code: bytes, case: RomCase) -> RomCase:
    """The case with different bytes, not zeros, in what the routine reads of unset memory, where it works with any."""
    bus = run(code, case).cpu.bus
    unset = sorted(home for home in bus.reads if home >= 0x7E0000 and home not in STACK_PAGE)
    filled = replace(case, mem={**{home: 0x41 + 7 * k & 0xFF for k, home in enumerate(unset)}, **case.mem})
    return filled if unset and not run(code, filled).problems else case


def assemble(codes: Sequence[str]) -> list[bytes]:
    """Assemble all routines in one go, each at $8000 in a scope of its own."""
    source = [".p816", '.segment "CODE"']
    for number, code in enumerate(codes):
        source += [f".scope row{number}", ".a8", ".i8", ".org $8000", "start:", code, "finish:", ".endscope", ".reloc"]
        source += ['.segment "SIZES"', f".word row{number}::finish - row{number}::start", '.segment "CODE"']
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "all.s").write_text("\n".join(source) + "\n", encoding="utf-8")
        (folder / "all.cfg").write_text(
            'MEMORY { A: start=0, size=$1000000, file="code.bin"; B: start=0, size=$10000, file="sizes.bin"; }\n'
            "SEGMENTS { CODE: load=A, type=ro; SIZES: load=B, type=ro; }\n",
            encoding="utf-8",
        )
        for command in ("ca65 --cpu 65816 -o all.o all.s", "ld65 -C all.cfg -o unused.bin all.o"):
            done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False, timeout=60)
            if done.returncode or done.stderr:
                raise ValueError(done.stderr[:2000])
        blob, sizes = (folder / "code.bin").read_bytes(), (folder / "sizes.bin").read_bytes()
    pieces, position = [], 0
    for number in range(len(codes)):
        size = int.from_bytes(sizes[2 * number : 2 * number + 2], "little")
        pieces.append(blob[position : position + size])
        position += size
    return pieces
